//! What is not one whole run is named, and nothing is written: with 8, unless `--partial` merges all the same.

use std::fs::{self, File};

use super::Cluster;
use crate::support::batch::output::{lines, lines_in, numbers};
use crate::support::batch::prompts;
use crate::support::harness::Langspan;
use crate::support::schema::assert_described;

const PARTS: [&str; 3] = ["out-1.jsonl", "out-2.jsonl", "out-3.jsonl"];

/// Merges the `parts`: in vain, with these words; then with `--partial`, which warns of the same and writes `lines`.
#[track_caller]
fn assert_refused(cluster: &Cluster, parts: &[&str], says: &[&str], lines: &[u64]) {
    let arguments = [parts, &["--out", "all.jsonl"]].concat();
    let refused = cluster.merge(&arguments);
    refused.code(8).stdout("").stderr_has("--partial");
    assert!(!cluster.has("all.jsonl"), "{refused:#?}");
    let partial = cluster.merge(&[&arguments[..], &["--partial"]].concat());
    partial.code(0);
    for text in says {
        refused.stderr_has(text);
        partial.stderr_has(&format!("warning: {text}"));
    }
    assert_eq!(numbers(&lines_in(&cluster.path("all.jsonl"))), lines);
    fs::remove_file(cluster.path("all.jsonl")).unwrap();
}

fn all(count: u64) -> Vec<u64> {
    (1..=count).collect()
}

#[test]
fn a_missing_shard_is_named() {
    let cluster = Cluster::ran(&prompts(7), 3);
    let says = ["shard 2/3 is missing"];
    assert_refused(
        &cluster,
        &["out-1.jsonl", "out-3.jsonl"],
        &says,
        &[1, 3, 4, 6, 7],
    );
    let says = ["shards 1/3 and 3/3 are missing"];
    assert_refused(&cluster, &["out-2.jsonl"], &says, &[2, 5]);
    let json = cluster.merge(&["out-2.jsonl", "--out", "all.jsonl", "-o", "json"]);
    let json = json.code(8).json();
    assert_described(&json, "failure");
    assert_eq!(json["command"], "merge");
    assert_eq!(json["error"]["kind"], "input");
    assert_eq!(json["error"]["exit_code"], 8);
}

#[test]
fn a_shard_that_is_there_twice_is_named() {
    let cluster = Cluster::ran(&prompts(4), 2);
    let parts = ["out-1.jsonl", "out-2.jsonl", "out-2.jsonl"];
    let says = ["shard 2/2 occurs twice: out-2.jsonl and out-2.jsonl"];
    assert_refused(&cluster, &parts, &says, &all(4));
}

#[test]
fn lines_that_are_missing_or_there_twice_are_named() {
    let cluster = Cluster::ran(&prompts(40), 2);
    // Lines 1, 3, 5 … in the order of their answers.
    let is_of = |line: &str, numbers: &[u64]| {
        let found = |number: &u64| line.contains(&format!("\"line\":{number},"));
        numbers.iter().any(found)
    };
    cluster.edit("out-1.jsonl", |lines| {
        lines.retain(|line| !is_of(line, &[3, 7]));
    });
    let parts = ["out-1.jsonl", "out-2.jsonl"];
    let rest: Vec<u64> = all(40)
        .into_iter()
        .filter(|n| ![3, 7].contains(n))
        .collect();
    let says = ["out-1.jsonl lacks 2 lines: 3 and 7"];
    assert_refused(&cluster, &parts, &says, &rest);

    cluster.edit("out-2.jsonl", |lines| {
        lines.retain(|line| is_of(line, &[2, 40]));
        let twice = lines.iter().find(|line| is_of(line, &[40])).cloned();
        lines.extend(twice);
    });
    let says = [
        "out-2.jsonl lacks 18 lines: 4, 6, 8, 10, 12 and 13 more",
        "line 40 (out-2.jsonl) occurs twice",
    ];
    let rest: Vec<u64> = rest
        .into_iter()
        .filter(|line| line % 2 == 1 || [2, 40].contains(line))
        .collect();
    assert_refused(&cluster, &parts, &says, &rest);
}

/// Cut by a kill: what remains is no line.
#[test]
fn half_a_line_is_a_missing_one() {
    let cluster = Cluster::ran(&prompts(3), 1);
    let text = cluster.text("out-1.jsonl");
    cluster.home.file("out-1.jsonl", &text[..text.len() - 40]);
    let whole: Vec<&str> = text.lines().take(2).collect();
    let kept = numbers(&lines(&format!("{}\n", whole.join("\n"))));
    let cut = (1..=3).find(|line| !kept.contains(line)).unwrap();
    let says = format!("out-1.jsonl lacks 1 line: {cut}");
    assert_refused(&cluster, &["out-1.jsonl"], &[&says], &kept);
    assert_eq!(cluster.text("out-1.jsonl").len(), text.len() - 40);
}

#[test]
fn parts_of_two_runs_are_named() {
    let cluster = Cluster::ran(&prompts(4), 2);
    let parts = ["out-1.jsonl", "other.jsonl"];
    let other = |options: &[&str]| {
        cluster.shard("other.jsonl", 2, 2, &[options, &["--overwrite"]].concat());
    };
    other(&["--run", "s"]);
    let says = ["other.jsonl was written with run s, but out-1.jsonl with r"];
    assert_refused(&cluster, &parts, &says, &all(4));
    other(&["-m", "gpt-4.1"]);
    let says = ["other.jsonl was written with model gpt-4.1, but out-1.jsonl with gpt-4o-mini"];
    assert_refused(&cluster, &parts, &says, &all(4));
    cluster.shard("other.jsonl", 2, 3, &["--overwrite"]);
    let says = ["other.jsonl is shard 2/3, but out-1.jsonl is shard 1/2"];
    assert_refused(&cluster, &parts, &says, &[1, 2, 3]);
    cluster
        .shard_of("in.jsonl", "other.jsonl", 1, 1, &["--overwrite"])
        .code(0);
    let says = ["lines 1 (out-1.jsonl, other.jsonl) and 3 (out-1.jsonl, other.jsonl) occur twice"];
    assert_refused(&cluster, &parts, &says, &all(4));
}

#[test]
fn parts_of_two_inputs_are_named() {
    let cluster = Cluster::ran(&prompts(4), 2);
    let parts = ["out-1.jsonl", "other.jsonl"];
    // In a line that the second shard does not even send.
    cluster.home.file("longer.jsonl", prompts(6));
    cluster
        .home
        .file("edited.jsonl", prompts(4).replace("line 3", "line 33"));
    cluster.home.file(
        "blank.jsonl",
        prompts(4).replace("{\"prompt\":\"line 3\"}", ""),
    );
    for (input, says) in [
        (
            "longer.jsonl",
            "other.jsonl was made from 6 lines, but out-1.jsonl from 4 lines",
        ),
        (
            "edited.jsonl",
            "other.jsonl was made from an input with the checksum",
        ),
        (
            "blank.jsonl",
            "other.jsonl was made from an input with the checksum",
        ),
    ] {
        cluster
            .shard_of(input, "other.jsonl", 2, 2, &["--overwrite"])
            .code(0);
        let lines = if input == "longer.jsonl" {
            vec![1, 2, 3, 4, 6]
        } else {
            all(4)
        };
        assert_refused(&cluster, &parts, &[says], &lines);
    }
}

#[test]
fn lines_of_another_shard_are_named() {
    let cluster = Cluster::ran(&prompts(4), 2);
    let foreign = cluster.text("out-2.jsonl");
    cluster.edit("out-1.jsonl", |lines| {
        lines.extend(foreign.lines().map(str::to_owned));
    });
    let says = ["lines 2 and 4 of out-1.jsonl are not of shard 1/2 of its input"];
    assert_refused(&cluster, &["out-1.jsonl", "out-2.jsonl"], &says, &all(4));
}

#[test]
fn a_run_that_has_not_ended_is_named_until_it_is_resumed() {
    let cluster = Cluster::ran(&prompts(4), 2);
    let noted = cluster.text("out-2.jsonl.acks");
    assert!(noted.contains("{\"input\":{\"lines\":4,"), "{noted}");
    // As a kill leaves it, and as earlier versions wrote it.
    cluster.edit("out-2.jsonl.acks", |lines| {
        lines.retain(|line| !line.starts_with("{\"input\""));
    });
    let parts = ["out-1.jsonl", "out-2.jsonl"];
    let says = ["the run of out-2.jsonl has not ended"];
    assert_refused(&cluster, &parts, &says, &all(4));
    cluster.shard("out-2.jsonl", 2, 2, &["--resume"]);
    cluster
        .merge(&[&parts[..], &["--out", "all.jsonl"]].concat())
        .code(0);
    // What is known already is not noted again.
    cluster.shard("out-2.jsonl", 2, 2, &["--resume"]);
    assert_eq!(
        cluster
            .text("out-2.jsonl.acks")
            .matches("{\"input\"")
            .count(),
        1
    );
}

#[test]
fn a_run_that_stopped_early_has_not_ended() {
    let cluster = Cluster::new(&format!("{{\"prompt\": 1}}\n{}", prompts(4)));
    let options = ["--max-errors", "1", "-j", "1"];
    cluster
        .shard_of("in.jsonl", "out-1.jsonl", 1, 1, &options)
        .code(8);
    cluster
        .merge(&["out-1.jsonl", "--out", "all.jsonl"])
        .code(8)
        .stderr_has("the run of out-1.jsonl has not ended");
}

#[test]
fn an_output_without_a_sound_ack_file_is_named() {
    let cluster = Cluster::ran(&prompts(4), 2);
    let parts = ["out-1.jsonl", "out-2.jsonl"];
    let acks = cluster.path("out-2.jsonl.acks");
    let sound = fs::read(&acks).unwrap();
    fs::remove_file(&acks).unwrap();
    let says = ["out-2.jsonl.acks is missing, so its run is unknown"];
    assert_refused(&cluster, &parts, &says, &all(4));
    for (content, says) in [
        ("", "out-2.jsonl.acks is empty, so its run is unknown"),
        (
            "{\"run\":\"r\"",
            "out-2.jsonl.acks is empty, so its run is unknown",
        ),
        ("hello\n", "out-2.jsonl.acks cannot be read"),
        (
            "{\"run\":\"r\",\"model\":\"m\",\"shard\":\"3/2\",\"session\":null}\n",
            "out-2.jsonl.acks names no shard K/N",
        ),
    ] {
        fs::write(&acks, content).unwrap();
        assert_refused(&cluster, &parts, &[says], &all(4));
        assert_eq!(fs::read_to_string(&acks).unwrap(), content);
    }
    // A run has it open.
    fs::write(&acks, sound).unwrap();
    let held = File::open(&acks).unwrap();
    held.lock().unwrap();
    let says = ["out-2.jsonl is being written by a run"];
    assert_refused(&cluster, &parts, &says, &all(4));
    drop(held);
    cluster
        .merge(&[&parts[..], &["--out", "all.jsonl"]].concat())
        .code(0);
}

#[test]
fn a_file_that_is_no_output_is_refused() {
    let cluster = Cluster::ran(&prompts(4), 2);
    fs::create_dir(cluster.path("folder")).unwrap();
    cluster.home.file("no.jsonl.gz", "plain");
    cluster
        .home
        .file("zero.jsonl", "{\"langspan\":{\"line\":0}}\n");
    cluster.home.file("rest.jsonl", "hello");
    for (part, code, says) in [
        ("in.jsonl", 2, "line 1 of in.jsonl is not an output line"),
        ("out-1.jsonl.acks", 2, "is not an output line"),
        ("zero.jsonl", 2, "it answers line 0"),
        (
            "rest.jsonl",
            2,
            "line 1 of rest.jsonl is not an output line",
        ),
        ("nowhere.jsonl", 6, "nowhere.jsonl"),
        ("folder", 6, "folder"),
        ("no.jsonl.gz", 6, "not compressed as its name suggests"),
    ] {
        for option in [&[][..], &["--partial"]] {
            let parts = ["out-1.jsonl", part, "out-2.jsonl", "--out", "all.jsonl"];
            cluster
                .merge(&[&parts[..], option].concat())
                .code(code)
                .stderr_has(says);
            assert!(!cluster.has("all.jsonl"), "{part}");
        }
    }
}

#[test]
fn a_file_that_is_read_is_not_written() {
    let cluster = Cluster::ran(&prompts(4), 2);
    let before = cluster.text("out-1.jsonl");
    for (out, summary) in [
        ("out-1.jsonl", "s.json"),
        ("./out-2.jsonl.acks", "s.json"),
        ("all.jsonl", "out-1.jsonl"),
        ("all.jsonl", "all.jsonl"),
    ] {
        let arguments = ["out-1.jsonl", "out-2.jsonl", "--overwrite", "--out", out];
        cluster
            .merge(&[&arguments[..], &["--summary", summary]].concat())
            .code(2)
            .stderr_has("name another file");
    }
    assert_eq!(cluster.text("out-1.jsonl"), before);
    cluster
        .merge(&["out-1.jsonl", "out-2.jsonl", "--out", "no/folder.jsonl"])
        .code(6);
    cluster.merge(&["--out", "all.jsonl"]).code(2);
    cluster.merge(&["out-1.jsonl"]).code(2).stderr_has("--out");
}

#[test]
fn shards_without_a_common_name_are_merged_on_request_alone() {
    let cluster = Cluster::new(&prompts(4));
    for index in 1..=2 {
        let (out, shard) = (format!("out-{index}.jsonl"), format!("{index}/2"));
        let call = ["batch", "in.jsonl", "--out", &out, "--shard", &shard];
        cluster.call(&call).run().code(0);
    }
    let says = ["out-2.jsonl was written with run in-"];
    assert_refused(&cluster, &PARTS[..2], &says, &all(4));
}

#[test]
fn no_server_is_needed() {
    let cluster = Cluster::ran(&prompts(4), 2);
    let arguments = ["merge", "out-1.jsonl", "out-2.jsonl", "--out", "all.jsonl"];
    Langspan::new(&arguments)
        .beside(&cluster.home)
        .run()
        .code(0);
}
