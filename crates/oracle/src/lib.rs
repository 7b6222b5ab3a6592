//! A second opinion: whatever histories groups have, mls-rs makes of them what the hub's OpenMLS makes of them. Tests only;
//! there is nothing here to import.
