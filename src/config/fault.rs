//! What is wrong with a configuration: key, line, and what to write instead.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing to mend in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key with its section, `sip.listen` or `number[2].ring`; items of a list count from 1.
    pub key: String,
    /// The line in the file, counted from 1; `None` if the key is not there at all.
    pub line: Option<usize>,
    /// What is wrong. Never holds a secret, not even one that was written in the wrong place.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => writeln!(f, "line {line}: {}", self.key)?,
            None if self.key.is_empty() => {}
            None => writeln!(f, "{}", self.key)?,
        }
        write!(f, "    {}", self.problem)?;
        for line in self.remedy.lines() {
            write!(f, "\n    -> {line}")?;
        }
        Ok(())
    }
}

/// Every reason why a configuration cannot be used, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigFaults {
    /// The file.
    pub file: PathBuf,
    /// What to mend; never empty.
    pub faults: Vec<Fault>,
    /// What would work but is worth a look.
    pub warnings: Vec<Fault>,
}

impl ConfigFaults {
    /// The one fault of a file that could not be read at all.
    pub(super) fn unreadable(file: &Path, problem: String, remedy: String) -> Self {
        let fault = Fault { key: String::new(), line: None, problem, remedy };
        Self { file: file.to_owned(), faults: vec![fault], warnings: Vec::new() }
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.faults.len() {
            1 => write!(f, "{file}: one thing to mend")?,
            count => write!(f, "{file}: {count} things to mend")?,
        }
        for fault in &self.faults {
            write!(f, "\n\nerror: {fault}")?;
        }
        for warning in &self.warnings {
            write!(f, "\n\nwarning: {warning}")?;
        }
        Ok(())
    }
}

/// Finds the line of a byte offset.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    /// The line of the byte at `offset`, counted from 1.
    pub(super) fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }
}

/// The word of `known` that `word` was probably meant to be.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let wanted = word.to_ascii_lowercase().replace('-', "_");
    known
        .iter()
        .map(|it| (distance(&wanted, it), *it))
        .filter(|(distance, it)| *distance <= 1 + it.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}

/// Levenshtein distance in characters; both words are short.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (above + 1).min(row[j] + 1).min(diagonal + usize::from(x != *y));
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_on_the_line_that_its_line_break_ends() {
        let lines = Lines::of("a\nbc\n\nd");
        let found: Vec<usize> = (0..7).map(|offset| lines.at(offset)).collect();
        assert_eq!(found, [1, 1, 2, 2, 2, 3, 4]);
    }

    #[test]
    fn a_slip_of_the_pen_finds_its_key_and_nonsense_finds_none() {
        let known = ["listen", "advertised", "trunk_no_answer"];
        assert_eq!(nearest("listne", &known), Some("listen"));
        assert_eq!(nearest("Trunk-No-Answer", &known), Some("trunk_no_answer"));
        assert_eq!(nearest("advertise", &known), Some("advertised"));
        assert_eq!(nearest("colour", &known), None);
    }
}
