//! The package that `cargo package` makes.

use std::path::Path;
use std::process::Command;

#[test]
fn the_package_has_the_sources_and_what_is_installed_with_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(root)
        .output()
        .unwrap();
    let (list, notes) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{notes}");
    assert!(!notes.contains("manifest"), "{notes}");
    let files: Vec<&str> = list.lines().collect();
    for file in [
        "src/main.rs",
        "src/cli/help/batch.md",
        "src/output/schema/answer.json",
        "completions/langspan.bash",
        "completions/langspan.1",
        "build.rs",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "Cargo.lock",
    ] {
        assert!(files.contains(&file), "{file}: {list}");
    }
    let own = [
        "src/",
        "completions/",
        "build.rs",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "Cargo.",
        ".cargo_vcs_info.json",
    ];
    for file in files {
        assert!(own.iter().any(|start| file.starts_with(start)), "{file}");
    }
}
