//! The README shows the verdict table as the code has it.

use std::path::Path;

use cordboard::call::cause;

const BEGIN: &str = "<!-- verdicts: written by a test from src/call/cause -->\n";
const END: &str = "<!-- /verdicts -->";

/// `CORDBOARD_BLESS=1` writes the table; without it a difference fails.
#[test]
fn the_readme_shows_the_verdict_table_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).expect("the README is there");
    let (before, rest) = readme.split_once(BEGIN).expect("the README marks where the table begins");
    let (shown, after) = rest.split_once(END).expect("the README marks where the table ends");
    let table = cause::markdown();
    if std::env::var_os("CORDBOARD_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}"))
            .expect("the README can be written");
        return;
    }
    assert!(shown == table, "the table has changed: run the tests once with CORDBOARD_BLESS=1");
}
