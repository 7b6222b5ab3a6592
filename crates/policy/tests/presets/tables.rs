//! Who may do what in the example policies, read off the draft's appendix A by hand. In a row, the first column is role 1;
//! who has no row may do nothing of the kind.

/// `(actor's role, whether for each role)`.
pub type Row = (u32, &'static str);

pub struct Table {
    /// By the role that the new participant gets.
    pub add: &'static [Row],
    /// By the role of who is removed.
    pub remove: &'static [Row],
    /// By the role of who is banned.
    pub ban: &'static [Row],
    /// By the role that who was banned gets.
    pub unban: &'static [Row],
    /// By the role of who has the client.
    pub kick: &'static [Row],
    /// `(actor's role, role of another, whether into each role)`.
    pub change: &'static [(u32, u32, &'static str)],
    /// Roles whose holders may leave.
    pub leave: &'static [u32],
    /// Roles whose holders may add and remove clients of their own.
    pub own_clients: &'static [u32],
    /// Roles that a join code may give.
    pub by_code: &'static [u32],
    /// Roles that a preauthorization may give to who is not in the list, and whose holders may change their own.
    pub preauthorized: &'static [u32],
    /// Roles whose holders send messages.
    pub send: &'static [u32],
    /// Roles whose holders may change a field of the metadata.
    pub metadata: &'static [(&'static str, &'static [u32])],
    /// Roles whose holders may change a component.
    pub policy: &'static [(&'static str, &'static [u32])],
}

const ADMINISTERED_BAN: &[Row] = &[(3, ".YY."), (4, ".YYY"), (5, ".YYY")];
const ADMINISTERED_UNBAN: &[Row] = &[(3, ".YY.."), (4, ".YYY.")];
const ADMINISTERED_KICK: &[Row] = &[(3, ".YYY"), (4, ".YYY")];
const ADMINISTERED_CHANGE: &[(u32, u32, &str)] = &[
    (3, 2, "..Y.."),
    (3, 3, ".Y..."),
    (4, 2, "..YY."),
    (4, 3, ".Y.Y."),
    (4, 4, ".YY.."),
];

/// A.1: 2 ordinary_user, 3 group_admin, 4 super_admin, 5 policy_enforcer.
pub const COOPERATIVE: Table = Table {
    add: &[(2, ".Y..."), (3, "YYY.."), (4, "YYYY."), (5, "Y....")],
    remove: &[(2, ".Y.."), (3, "YYY."), (4, "YYYY"), (5, "YYYY")],
    ban: ADMINISTERED_BAN,
    unban: ADMINISTERED_UNBAN,
    kick: ADMINISTERED_KICK,
    change: ADMINISTERED_CHANGE,
    leave: &[2, 3, 4],
    own_clients: &[2, 3, 4],
    by_code: &[],
    preauthorized: &[],
    send: &[2, 3, 4],
    metadata: &[
        ("name", &[2, 3, 4]),
        ("description", &[3, 4]),
        ("avatar", &[2, 3, 4]),
        ("subject", &[2, 3, 4]),
        ("mood", &[2, 3, 4]),
    ],
    policy: &[
        ("roles", &[5]),
        ("preauth", &[4, 5]),
        ("base", &[4]),
        ("operational", &[5]),
        ("other", &[]),
        ("add link", &[]),
        ("remove link", &[]),
    ],
};

/// A.2: 2 ordinary_user, 3 group_admin, 4 super_admin, 5 policy_enforcer.
pub const STRICT: Table = Table {
    add: &[(3, "YYY.."), (4, "YYYY."), (5, "Y....")],
    remove: &[(3, "YYY."), (4, "YYYY"), (5, "YYYY")],
    ban: ADMINISTERED_BAN,
    unban: ADMINISTERED_UNBAN,
    kick: ADMINISTERED_KICK,
    change: ADMINISTERED_CHANGE,
    leave: &[2, 3, 4],
    own_clients: &[2, 3, 4],
    by_code: &[2],
    preauthorized: &[2, 3, 4],
    send: &[2, 3, 4],
    metadata: &[
        ("name", &[3, 4]),
        ("description", &[3, 4]),
        ("avatar", &[3, 4]),
        ("subject", &[3, 4]),
        ("mood", &[3, 4]),
    ],
    policy: &[
        ("roles", &[4, 5]),
        ("preauth", &[4, 5]),
        ("base", &[4]),
        ("operational", &[5]),
        ("other", &[]),
        ("add link", &[3, 4]),
        ("remove link", &[3, 4]),
    ],
};

/// A.3: 2 guest, 3 attendee, 4 speaker, 5 moderator, 6 super_admin, 7 policy_enforcer.
pub const MODERATED: Table = Table {
    add: &[(5, "YYYYY.."), (6, "YYYYYY."), (7, "Y......")],
    remove: &[(5, "YYYYY."), (6, "YYYYYY"), (7, "YYYYYY")],
    ban: &[(5, ".YYYY."), (6, ".YYYYY"), (7, ".YYYYY")],
    unban: &[(5, ".YYYY.."), (6, ".YYYYY.")],
    kick: &[(5, ".YYYYY"), (6, ".YYYYY")],
    change: &[
        (5, 2, "..YYY.."),
        (5, 3, ".Y.YY.."),
        (5, 4, ".YY.Y.."),
        (5, 5, ".YYY..."),
        (6, 2, "..YYYY."),
        (6, 3, ".Y.YYY."),
        (6, 4, ".YY.YY."),
        (6, 5, ".YYY.Y."),
        (6, 6, ".YYYY.."),
    ],
    leave: &[2, 3, 4, 5, 6],
    own_clients: &[3, 4, 5, 6],
    by_code: &[2, 3],
    preauthorized: &[3, 4, 5, 6],
    send: &[4, 5, 6],
    metadata: &[
        ("name", &[5, 6]),
        ("description", &[6]),
        ("avatar", &[5, 6]),
        ("subject", &[5, 6]),
        ("mood", &[5, 6]),
    ],
    policy: &[
        ("roles", &[6, 7]),
        ("preauth", &[6, 7]),
        ("base", &[6]),
        ("operational", &[7]),
        ("other", &[]),
        ("add link", &[5, 6]),
        ("remove link", &[5, 6]),
    ],
};

/// A.4: 2, 3 and 4 users of a, b and c, 5, 6 and 7 their administrators, 8 super_admin, 9 policy_enforcer.
pub const MULTI_ORGANIZATION: Table = Table {
    add: &[
        (5, ".Y..Y...."),
        (6, "..Y..Y..."),
        (7, "...Y..Y.."),
        (8, "YYYYYYYY."),
        (9, "Y........"),
    ],
    remove: &[
        (5, ".Y..Y..."),
        (6, "..Y..Y.."),
        (7, "...Y..Y."),
        (8, "YYYYYYYY"),
        (9, "Y.YYYYYY"),
    ],
    ban: &[
        (5, ".Y..Y..."),
        (6, "..Y..Y.."),
        (7, "...Y..Y."),
        (8, ".YYYYYYY"),
        (9, "..YYYYYY"),
    ],
    unban: &[(8, ".YYYYYYY.")],
    kick: &[(5, ".YYYYYYY"), (6, ".YYYYYYY"), (7, ".YYYYYYY"), (8, ".YYYYYYY")],
    change: &[
        (5, 2, "....Y...."),
        (5, 5, ".Y......."),
        (6, 3, ".....Y..."),
        (6, 6, "..Y......"),
        (7, 4, "......Y.."),
        (7, 7, "...Y....."),
        (8, 2, "....Y..Y."),
        (8, 3, ".....Y..."),
        (8, 4, "......Y.."),
        (8, 5, ".Y.....Y."),
        (8, 6, "..Y......"),
        (8, 7, "...Y....."),
        (8, 8, ".Y..Y...."),
    ],
    leave: &[2, 3, 4, 5, 6, 7, 8],
    own_clients: &[2, 3, 4, 5, 6, 7, 8],
    by_code: &[],
    preauthorized: &[2, 5, 8],
    send: &[2, 3, 4, 5, 6, 7, 8],
    metadata: &[
        ("name", &[8]),
        ("description", &[8]),
        ("avatar", &[8]),
        ("subject", &[8]),
        ("mood", &[8]),
    ],
    policy: &[
        ("roles", &[8, 9]),
        ("preauth", &[8, 9]),
        ("base", &[8]),
        ("operational", &[9]),
        ("other", &[]),
        ("add link", &[]),
        ("remove link", &[]),
    ],
};
