//! The proof that requirements have tests can fail, and is the same for the same tests.

#![allow(clippy::unwrap_used, reason = "tests")]

use xtask::conformance::{Conformance, Outcomes, Promises};

const REQUIREMENTS: &str = "\
# Requirements
## Encoding
| id | where | what |
|---|---|---|
| W-1 | MLS §2 | Lengths are short. |
| W-2 | MLS §2 | Flags are flags. |
## Hub
| id | where | what |
|---|---|---|
| H-16 | §5.3 | One commit. |
| AS-2 | §5.10 | A proxy. |
";
const DEVIATIONS: &str = "| id | reason |\n|---|---|\n| AS-2 | No library does it. |\n";
const OK: &str = "\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";

fn promises() -> Promises {
    Promises::parse(REQUIREMENTS, DEVIATIONS).unwrap()
}

/// What breaks, and the document, when the tests print this.
fn judged(output: &str) -> (Vec<String>, String) {
    let (promises, outcomes) = (promises(), Outcomes::parse(output));
    let conformance = Conformance::of(&promises, &outcomes);
    (conformance.breaches(), conformance.document())
}

fn ids(function: &str) -> Vec<String> {
    promises().ids(function).iter().map(ToString::to_string).collect()
}

#[test]
fn a_test_is_of_the_ids_that_its_name_begins_with() {
    assert_eq!(ids("h_16_late"), ["H-16"]);
    assert_eq!(ids("w_1_w_2_h_16_lengths_of_h_2_o"), ["W-1", "W-2", "H-16"]);
    assert_eq!(ids("as_2_a_proxy_of_16_hosts"), ["AS-2"]);
    assert_eq!(ids("h_99_unknown"), ["H-99"], "of a known area, to be noticed");
    assert_eq!(ids("a_1_is_no_area"), Vec::<String>::new());
    assert_eq!(ids("late_h_16"), Vec::<String>::new());
    assert_eq!(ids("h"), Vec::<String>::new());
}

#[test]
fn tests_that_pass_and_reasons_are_enough() {
    let (breaches, document) = judged(&format!(
        "test codec::w_1_w_2_lengths ... ok\ntest h_16_one_commit - should panic ... ok{OK}"
    ));
    assert_eq!(breaches, Vec::<String>::new());
    assert!(
        document.contains("4 requirements: 3 shown by tests, 1 by a reason."),
        "{document}"
    );
    assert!(
        document.contains("| W-2 | MLS §2 | pass | `w_1_w_2_lengths` |"),
        "{document}"
    );
    assert!(document.contains("| AS-2 | §5.10 | reason |  |"), "{document}");
}

#[test]
fn a_requirement_without_test_or_reason_is_a_breach() {
    let (breaches, document) = judged(&format!("test w_1_w_2_lengths ... ok{OK}"));
    assert_eq!(breaches.len(), 1);
    assert!(breaches[0].starts_with("H-16 (§5.3) has neither"), "{breaches:?}");
    assert!(document.contains("| H-16 | §5.3 | MISSING |  |"), "{document}");
}

#[test]
fn a_test_that_was_not_run_shows_nothing() {
    let output = format!("test w_1_w_2_lengths ... ok\ntest h_16_one_commit ... ignored, takes hours{OK}");
    let (breaches, document) = judged(&output);
    assert_eq!(breaches.len(), 1);
    assert!(
        document.contains("| MISSING | `h_16_one_commit` (not run) |"),
        "{document}"
    );
}

#[test]
fn a_failing_test_is_a_breach_whatever_it_is_of() {
    let failed = OK.replace("ok.", "FAILED.");
    let fine = "test w_1_w_2_lengths ... ok\ntest h_16_one_commit ... ok\n";
    let (breaches, document) = judged(&format!("{fine}test h_16_late ... FAILED{failed}"));
    assert_eq!(breaches.len(), 2, "the test and its suite");
    assert!(
        document.contains("| FAIL | `h_16_late` (fails)<br>`h_16_one_commit` |"),
        "{document}"
    );
    let (breaches, _) = judged(&format!("{fine}test src/lib.rs - walls (line 9) ... FAILED{failed}"));
    assert_eq!(breaches.len(), 2);
    // Of two tests of one name one fails.
    let (breaches, _) = judged(&format!("{fine}test other::h_16_one_commit ... FAILED{OK}"));
    assert_eq!(breaches, ["other::h_16_one_commit fails"]);
}

#[test]
fn a_run_that_did_not_end_well_is_a_breach() {
    let fine = format!("test w_1_w_2_lengths ... ok\ntest h_16_one_commit ... ok{OK}");
    assert_eq!(judged(&fine).0.len(), 0);
    assert_eq!(
        judged(&format!("{fine}error: test failed, to rerun pass `-p a`\n"))
            .0
            .len(),
        1
    );
    assert_eq!(
        judged(&format!("{fine}error: of a program that a test starts\n"))
            .0
            .len(),
        0
    );
    assert!(judged("").0.iter().any(|breach| breach.starts_with("no results")));
}

#[test]
fn a_test_of_no_requirement_is_a_breach() {
    let output = format!("test w_1_w_2_lengths ... ok\ntest h_16_h_99_one_commit ... ok{OK}");
    assert_eq!(
        judged(&output).0,
        ["h_16_h_99_one_commit names H-99, which is no requirement"]
    );
}

#[test]
fn doc_tests_are_of_no_requirement() {
    let output = format!(
        "test w_1_w_2_lengths ... ok\ntest h_16_one ... ok\ntest crates/a/src/lib.rs - h_16_two (line 3) ... ok{OK}"
    );
    let (breaches, document) = judged(&output);
    assert_eq!(breaches, Vec::<String>::new());
    assert!(!document.contains("h_16_two"), "{document}");
}

#[test]
fn the_document_does_not_depend_on_the_order_of_the_tests() {
    let tests = [
        "test h_16_b ... ok\n",
        "test w_1_w_2_c ... ok\n",
        "test a::h_16_a ... ok\n",
    ];
    let forth = judged(&(tests.concat() + OK));
    let back = judged(&(tests.iter().rev().copied().collect::<String>() + OK));
    assert_eq!(forth, back);
}

#[test]
fn documents_that_contradict_themselves_are_refused() {
    let twice = format!("{REQUIREMENTS}| W-1 | MLS §2 | Again. |\n");
    assert!(Promises::parse(&twice, "").is_err());
    assert!(Promises::parse("## A\n| W-1 | MLS §2 |\n", "").is_err());
    assert!(Promises::parse("", "").is_err());
    assert!(Promises::parse(REQUIREMENTS, "| W-9 | no such |\n").is_err());
    assert!(Promises::parse(REQUIREMENTS, "| W-1 |  |\n").is_err());
}

#[test]
fn the_projects_own_requirements_can_be_read() {
    let promises = Promises::read(&xtask::root()).unwrap();
    let count: usize = promises.areas.iter().map(|area| area.requirements.len()).sum();
    assert_eq!(count, 187);
}
