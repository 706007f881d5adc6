//! The API does what its description says: schemathesis asks it everything that the description allows, and much that
//! it does not.

use std::path::PathBuf;
use std::process::Command;

use crate::rig::gateway::{API_TOKEN, Setup, run};
use crate::rig::{USER, World};

/// What requests carry where any text would do but only one leads on; and 422, which says that what can be read makes no
/// sense. 429 and 502 are what rules and Meta say.
fn config() -> String {
    format!(
        r#"
[parameters]
"path.number" = "support"
"path.user" = "{USER}"
"path.phone" = "1001"

[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 422, 429]
"#
    )
}

fn schemathesis() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("CORDBOARD_PYTHON")
        .map_or_else(|| root.join(".tools/python/bin/python"), PathBuf::from);
    python.with_file_name("schemathesis")
}

#[test]
fn schemathesis_finds_nothing_that_the_description_does_not_say() {
    let setup =
        Setup { api: true, number: "settings = { calls = true, call_icon = true }", ..Setup::default() };
    let world = World::start(&setup);
    // Somebody has called in vain: there is something to list, to note and to call back.
    let missed = world.meta.place_call(USER).id;
    world.closed_record(&missed);
    let file = world.folder().join("schemathesis.toml");
    std::fs::write(&file, config()).expect("the test's folder can be written");
    let at = &world.layout.api;
    // It keeps a memory of its own in the folder where it runs.
    let mut command = Command::new(schemathesis());
    command.current_dir(world.folder());
    command.arg("--config-file").arg(file).args(["run", "--url"]).arg(format!("http://{at}"));
    command.args(["--header", &format!("Authorization: Bearer {API_TOKEN}")]);
    // A stream has no end; the tests of the library read it.
    command.args(["--exclude-path", "/v1/events/stream", "--checks", "all", "--max-examples", "20"]);
    command.args(["--seed", "7", "--request-timeout", "10", "--suppress-health-check", "all"]);
    // Deadlines of a busy machine are no findings; what is generated stays on this machine.
    command.args(["--no-color", "--generation-database", "none", "--warnings", "off"]);
    command.arg(format!("http://{at}/v1/openapi.json"));
    let output = run(&mut command, "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "schemathesis: {:?}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("No issues found") || said.contains("passed"), "{said}");
    world.assert_no_violations();
}
