//! Whether parts make up one whole run: all shards of one run and one input, each line once.

use std::collections::BTreeMap;

use crate::batch::merge::part::{Part, PartOrigin, Place, line_at};
use crate::batch::resume::acks::RunIdentity;
use crate::batch::resume::input_note::InputNote;
use crate::console::counted;
use crate::settings::Shard;

/// How many lines or shards a message names.
const NAMED: usize = 5;

/// What keeps the parts from being one whole run, in words; empty if nothing does. `order` has all lines in order.
pub fn problems(parts: &[Part], order: &[Place]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut known = Vec::new();
    for part in parts {
        match &part.origin {
            Ok(origin) => known.push((part, origin)),
            Err(why) => problems.push(why.clone()),
        }
    }
    problems.extend(other_runs(&known));
    problems.extend(shards(&known, parts.len()));
    problems.extend(inputs(&known));
    problems.extend(
        known
            .iter()
            .filter_map(|(part, origin)| foreign(part, origin)),
    );
    problems.extend(missing(&known));
    problems.extend(twice(parts, order));
    problems
}

/// Parts of another run than the first one's.
fn other_runs(known: &[(&Part, &PartOrigin)]) -> Vec<String> {
    let Some(((first, origin), others)) = known.split_first() else {
        return Vec::new();
    };
    let differs = |(part, other): &(&Part, &PartOrigin)| {
        let name = |run: &RunIdentity| {
            let experiment = run.experiment.as_ref();
            experiment.map_or_else(|| "none".to_owned(), |found| found.name.clone())
        };
        let (one, other_name) = (name(&origin.run), name(&other.run));
        let values = [
            ("run", &origin.run.name, &other.run.name),
            ("model", &origin.run.model, &other.run.model),
            ("experiment", &one, &other_name),
        ];
        let differing = values.into_iter().find(|(_, one, other)| one != other);
        let (what, one, other) = differing?;
        Some(format!(
            "{} was written with {what} {other}, but {} with {one}",
            part.name, first.name
        ))
    };
    others.iter().filter_map(differs).collect()
}

/// Parts with another number of shards than the first one, shards that occur twice, and missing ones.
fn shards(known: &[(&Part, &PartOrigin)], parts: usize) -> Vec<String> {
    let Some((first, origin)) = known.first() else {
        return Vec::new();
    };
    let count = origin.shard.count;
    let others = known.iter().filter(|(_, other)| other.shard.count != count);
    let mut problems: Vec<String> = others
        .map(|(part, other)| {
            let (other, own) = (other.shard, origin.shard);
            format!(
                "{} is shard {other}, but {} is shard {own}",
                part.name, first.name
            )
        })
        .collect();
    if !problems.is_empty() {
        return problems;
    }
    let mut by_index: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (part, origin) in known {
        by_index
            .entry(origin.shard.index)
            .or_default()
            .push(&part.name);
    }
    for (index, names) in &by_index {
        if names.len() > 1 {
            let names = names.join(" and ");
            problems.push(format!("shard {index}/{count} occurs twice: {names}"));
        }
    }
    let missing = count - by_index.len() as u64;
    // A part without an ack file may be any of them.
    if missing > 0 && known.len() == parts {
        let absent = (1..=count).filter(|index| !by_index.contains_key(index));
        let named: Vec<String> = absent
            .take(NAMED)
            .map(|index| format!("{index}/{count}"))
            .collect();
        let (what, are) = if missing == 1 {
            ("shard", "is")
        } else {
            ("shards", "are")
        };
        problems.push(format!("{what} {} {are} missing", listed(&named, missing)));
    }
    problems
}

/// Parts whose input was not read to its end, or differs from that of the first one.
fn inputs(known: &[(&Part, &PartOrigin)]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut first: Option<(&Part, &InputNote)> = None;
    for (part, origin) in known {
        let Some(note) = &origin.acked.input else {
            problems.push(format!("the run of {} has not ended", part.name));
            continue;
        };
        match first {
            None => first = Some((part, note)),
            Some((_, other)) if note.is_same_input(other) => {}
            Some((one, other)) => problems.push(format!(
                "{} was made from {}, but {} from {}",
                part.name,
                input(note, other),
                one.name,
                input(other, note),
            )),
        }
    }
    problems
}

/// What distinguishes an input from another one.
fn input(note: &InputNote, other: &InputNote) -> String {
    if note.lines == other.lines {
        return format!("an input with the checksum {}", note.checksum);
    }
    let lines = counted(note.lines, "line");
    match note.limit {
        Some(limit) => format!("{lines} (--limit {limit})"),
        None => lines,
    }
}

/// Lines of a part that its run cannot have answered.
fn foreign(part: &Part, origin: &PartOrigin) -> Option<String> {
    let shard = origin.shard;
    let note = origin.acked.input.as_ref();
    let is_foreign = |line: &u64| {
        !shard.holds(*line) || note.is_some_and(|note| *line > note.lines || note.is_blank(*line))
    };
    let lines = part.lines.iter().map(|found| found.line);
    let mut lines: Vec<u64> = lines.filter(is_foreign).collect();
    if lines.is_empty() {
        return None;
    }
    lines.sort_unstable();
    let count = lines.len() as u64;
    let named = listed(&names(lines), count);
    let (what, are) = if count == 1 {
        ("line", "is")
    } else {
        ("lines", "are")
    };
    Some(format!(
        "{what} {named} of {} {are} not of shard {shard} of its input",
        part.name
    ))
}

/// The lines that no part of their shard answers.
fn missing(known: &[(&Part, &PartOrigin)]) -> Vec<String> {
    let mut shards: BTreeMap<(u64, u64), Vec<&(&Part, &PartOrigin)>> = BTreeMap::new();
    for part in known {
        let Shard { index, count } = part.1.shard;
        shards.entry((count, index)).or_default().push(part);
    }
    let lacking = |parts: &Vec<&(&Part, &PartOrigin)>| {
        let (first, origin) = parts[0];
        let note = origin.acked.input.as_ref()?;
        let lines = parts.iter().flat_map(|(part, _)| &part.lines);
        let mut lines: Vec<u64> = lines.map(|found| found.line).collect();
        lines.sort_unstable();
        lines.dedup();
        let (named, count) = lacked(origin.shard, note, &lines);
        if count == 0 {
            return None;
        }
        let what = counted(count, "line");
        let named = listed(&names(named), count);
        Some(format!("{} lacks {what}: {named}", first.name))
    };
    shards.values().filter_map(lacking).collect()
}

/// The first lines of a shard that are not among the `answered`, which are sorted, and the number of all of them.
fn lacked(shard: Shard, note: &InputNote, answered: &[u64]) -> (Vec<u64>, u64) {
    let is_expected = |line: u64| shard.holds(line) && line <= note.lines && !note.is_blank(line);
    let blank = note.blank.iter();
    let blank: u64 = blank
        .map(|(first, last)| shard.count_in(*first, *last))
        .sum();
    let found = answered.iter().filter(|line| is_expected(**line)).count() as u64;
    let count = shard.count_in(1, note.lines).saturating_sub(blank + found);
    let mut lines = (shard.index..=note.lines).step_by(usize::try_from(shard.count).unwrap_or(1));
    let mut named = Vec::new();
    while (named.len() as u64) < count.min(NAMED as u64)
        && let Some(line) = lines.next()
    {
        if is_expected(line) && answered.binary_search(&line).is_err() {
            named.push(line);
        }
    }
    (named, count)
}

/// Lines that are answered twice, and where.
fn twice(parts: &[Part], order: &[Place]) -> Option<String> {
    let line = |place: &Place| line_at(parts, *place).line;
    let pairs = order.windows(2);
    let pairs = pairs.filter(|pair| line(&pair[0]) == line(&pair[1]));
    let count = pairs.clone().count() as u64;
    let named: Vec<String> = pairs
        .take(NAMED)
        .map(|pair| {
            let line = line(&pair[0]);
            let [one, other] = [pair[0], pair[1]].map(|place| place.part);
            let names = [one, other].map(|part| parts[part as usize].name.as_str());
            if one == other {
                format!("{line} ({})", names[0])
            } else {
                format!("{line} ({})", names.join(", "))
            }
        })
        .collect();
    let (what, occur) = if count == 1 {
        ("line", "occurs")
    } else {
        ("lines", "occur")
    };
    (count > 0).then(|| format!("{what} {} {occur} twice", listed(&named, count)))
}

fn names(numbers: Vec<u64>) -> Vec<String> {
    let names = numbers.into_iter().take(NAMED);
    names.map(|number| number.to_string()).collect()
}

/// Names in a row, and how many more of the `count` there are.
fn listed(named: &[String], count: u64) -> String {
    let more = count.saturating_sub(named.len() as u64);
    match (named.split_last(), more) {
        (Some((last, [])), 0) => last.clone(),
        (Some((last, others)), 0) => format!("{} and {last}", others.join(", ")),
        _ => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(lines: u64, blank: &[(u64, u64)]) -> InputNote {
        InputNote {
            lines,
            checksum: String::new(),
            blank: blank.to_vec(),
            limit: None,
        }
    }

    #[test]
    fn lines_that_no_part_answers_are_counted_and_named() {
        let shard = Shard { index: 2, count: 3 };
        // 2, 5, 8, 11, 14, …, 29; of these, 8 and 11 are blank.
        let gap = note(30, &[(7, 12)]);
        assert_eq!(
            lacked(shard, &gap, &[2, 14, 20, 29]),
            (vec![5, 17, 23, 26], 4)
        );
        assert_eq!(lacked(shard, &gap, &[]), (vec![2, 5, 14, 17, 20], 8));
        // A line of another shard, a blank one, and one behind the end count for nothing.
        assert_eq!(
            lacked(shard, &gap, &[1, 2, 5, 8, 14, 17, 20, 23, 26, 32]),
            (vec![29], 1)
        );
        let whole = Shard { index: 1, count: 1 };
        assert_eq!(lacked(whole, &note(3, &[]), &[1, 2, 3]).1, 0);
        assert_eq!(lacked(whole, &note(0, &[]), &[]).1, 0);
    }

    #[test]
    fn a_long_list_ends_with_a_number() {
        let named = |count: u64| names((1..=count).collect());
        assert_eq!(listed(&named(1), 1), "1");
        assert_eq!(listed(&named(3), 3), "1, 2 and 3");
        assert_eq!(listed(&named(9), 9), "1, 2, 3, 4, 5 and 4 more");
    }
}
