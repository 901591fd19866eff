//! What is shipped: the package that `cargo package` makes, and the image of the `Dockerfile`.

use std::fs;
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

#[test]
fn the_image_is_built_from_everything_that_the_build_reads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = fs::read_to_string(root.join("Dockerfile")).unwrap();
    let (build, image) = dockerfile.split_once("\nFROM debian").unwrap();
    let copied = |stage: &str| -> Vec<String> {
        let copies = stage.lines().filter_map(|line| line.strip_prefix("COPY "));
        let sources = copies.flat_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            words[..words.len() - 1].to_vec()
        });
        sources.map(str::to_owned).collect()
    };
    let sources = copied(build);
    // The sources embed the completion scripts, and the manifest names the benchmark.
    for needed in [
        "Cargo.toml",
        "Cargo.lock",
        "build.rs",
        "src",
        "completions",
        "benches",
    ] {
        assert!(sources.iter().any(|source| source == needed), "{needed}");
    }
    for source in sources.iter().chain(&copied(image)) {
        let is_pattern =
            source.contains('*') || source.starts_with("--") || source.starts_with("/out");
        assert!(is_pattern || root.join(source).exists(), "{source}");
    }
}
