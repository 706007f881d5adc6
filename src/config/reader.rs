//! Reads a TOML tree key by key and collects every fault on the way.
//!
//! serde would stop at the first fault; an administrator wants them all, each with its line.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Lines, nearest};
use super::secret::Surroundings;
use super::setting::{Setting, quote};

/// A key that the program knows, as one file uses it; the example file is compared with these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Section and key, `number[1].cap_per_pair.max`.
    pub key: String,
    /// The line where it stands; `None` if the file leaves it out.
    pub line: Option<usize>,
    /// The default as the file would write it; `None` if there is none.
    pub default: Option<String>,
    /// The value that was read, written the same way; `None` for secrets, and if it is left out or wrong.
    pub value: Option<String>,
}

/// What is shared by all sections of one file.
pub(super) struct Reader<'a> {
    lines: Lines,
    folder: PathBuf,
    surroundings: &'a dyn Surroundings,
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Fault>,
    pub(super) keys: Vec<KeyUse>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &str, folder: &Path, surroundings: &'a dyn Surroundings) -> Self {
        let (faults, warnings, keys) = (Vec::new(), Vec::new(), Vec::new());
        Self { lines: Lines::of(text), folder: folder.to_owned(), surroundings, faults, warnings, keys }
    }

    /// Notes what the TOML parser says of the syntax.
    pub(super) fn syntax(&mut self, errors: &[toml::de::Error]) {
        for error in errors {
            let line = error.span().map(|span| self.lines.at(span.start));
            let remedy = "texts stand in quotes, lists in [ ], sections are [name] or [[name]]".to_owned();
            self.faults.push(Fault {
                key: "syntax".to_owned(),
                line,
                problem: error.message().to_owned(),
                remedy,
            });
        }
    }

    /// A fault that shows only when sections are compared; `key` is where the administrator should look.
    pub(super) fn fault_at(&mut self, key: &str, problem: String, remedy: String) {
        let fault = self.compared(key, problem, remedy);
        self.faults.push(fault);
    }

    /// Like [`Reader::fault_at`], for what works but is worth a look.
    pub(super) fn warn_at(&mut self, key: &str, problem: String, remedy: String) {
        let warning = self.compared(key, problem, remedy);
        self.warnings.push(warning);
    }

    fn compared(&self, key: &str, problem: String, remedy: String) -> Fault {
        let exact = self.keys.iter().find(|it| it.key == key).and_then(|it| it.line);
        // A key that is left out is answered for by its section.
        let section = key.rfind('.').map_or("", |end| &key[..=end]);
        let beside = || self.keys.iter().filter(|it| !section.is_empty() && it.key.starts_with(section));
        let line = exact.or_else(|| beside().filter_map(|it| it.line).min());
        Fault { key: key.to_owned(), line, problem, remedy }
    }
}

/// One table of the file, or the place where it is missing.
pub(super) struct Section<'r, 'a, 't> {
    reader: &'r mut Reader<'a>,
    table: Option<&'t DeTable<'t>>,
    path: String,
    asked: Vec<&'static str>,
}

impl<'r, 'a, 't> Section<'r, 'a, 't> {
    pub(super) fn root(reader: &'r mut Reader<'a>, table: &'t DeTable<'t>) -> Self {
        Self { reader, table: Some(table), path: String::new(), asked: Vec::new() }
    }

    pub(super) fn surroundings(&self) -> &'a dyn Surroundings {
        self.reader.surroundings
    }

    /// A path of the file: relative ones start at the file's own folder.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.reader.folder.join(path)
    }

    fn full(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Whether the file has this key; counts as asking for it.
    pub(super) fn has(&mut self, key: &'static str) -> bool {
        self.find(key).is_some()
    }

    fn find(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.table.and_then(|table| table.get(key))
    }

    /// Notes a fault of a value of this section.
    pub(super) fn fault(&mut self, key: &str, value: &Spanned<DeValue<'_>>, problem: String, remedy: String) {
        let line = Some(self.reader.lines.at(value.span().start));
        self.reader.faults.push(Fault { key: self.full(key), line, problem, remedy });
    }

    /// Notes a warning about a value of this section.
    pub(super) fn warn(&mut self, key: &str, value: &Spanned<DeValue<'_>>, problem: String, remedy: String) {
        let line = Some(self.reader.lines.at(value.span().start));
        self.reader.warnings.push(Fault { key: self.full(key), line, problem, remedy });
    }

    /// Notes a fault of a key of this section that was read before.
    pub(super) fn fault_of(&mut self, key: &str, problem: String, remedy: String) {
        let key = self.full(key);
        self.reader.fault_at(&key, problem, remedy);
    }

    fn note(&mut self, key: &str, default: Option<String>, value: Option<String>) {
        let line =
            self.table.and_then(|table| table.get(key)).map(|it| self.reader.lines.at(it.span().start));
        self.reader.keys.push(KeyUse { key: self.full(key), line, default, value });
    }

    /// The raw value of a key that must be there.
    pub(super) fn take(&mut self, key: &'static str, example: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        let found = self.find(key);
        self.note(key, None, None);
        if found.is_none() {
            self.missing(key, example);
        }
        found
    }

    fn missing(&mut self, key: &str, example: &str) {
        let place = if self.path.is_empty() { String::new() } else { format!("in [{}]: ", self.header()) };
        let (line, problem) = (self.first_line(), "is missing and has no default".to_owned());
        let fault = Fault { key: self.full(key), line, problem, remedy: format!("{place}{key} = {example}") };
        self.reader.faults.push(fault);
    }

    /// `number[2]` as its header stands in the file.
    fn header(&self) -> String {
        match self.path.split_once('[') {
            Some((name, rest)) => match rest.split_once("].") {
                Some((_, inner)) => format!("[{name}], {inner}"),
                None => format!("[{name}]"),
            },
            None => self.path.clone(),
        }
    }

    /// The line of the first key of this section, the best place to point at when one is missing.
    fn first_line(&self) -> Option<usize> {
        let first = self.table?.iter().map(|(key, _)| key.span().start).min()?;
        Some(self.reader.lines.at(first))
    }

    /// A value that must be there.
    pub(super) fn required<T: Setting>(&mut self, key: &'static str, example: &str) -> Option<T> {
        if self.find(key).is_none() {
            self.note(key, None, None);
            self.missing(key, example);
        }
        self.read(key, None, example)
    }

    /// A value with a default.
    pub(super) fn or<T: Setting>(&mut self, key: &'static str, default: T) -> Option<T> {
        let printed = default.write();
        if self.find(key).is_some() {
            return self.read(key, Some(printed.clone()), &printed);
        }
        self.note(key, Some(printed), None);
        Some(default)
    }

    /// A value that may be left out; the outer `None` is a fault.
    pub(super) fn optional<T: Setting>(&mut self, key: &'static str, example: &str) -> Option<Option<T>> {
        if self.find(key).is_some() {
            return self.read(key, None, example).map(Some);
        }
        self.note(key, None, None);
        Some(None)
    }

    fn read<T: Setting>(&mut self, key: &'static str, default: Option<String>, example: &str) -> Option<T> {
        let value = self.find(key)?;
        let read = T::read(value.get_ref());
        self.note(key, default, read.as_ref().map(T::write));
        if read.is_none() {
            let problem = format!("{} is not {}", quote(value.get_ref()), T::WANTED);
            self.fault(key, value, problem, format!("{key} = {example}"));
        }
        read
    }

    /// A list; each wrong item is a fault of its own line.
    pub(super) fn list<T: Setting>(
        &mut self,
        key: &'static str,
        default: Option<Vec<T>>,
        example: &str,
    ) -> Option<Vec<T>> {
        let print = |items: &[T]| format!("[{}]", items.iter().map(T::write).collect::<Vec<_>>().join(", "));
        let printed = default.as_deref().map(print);
        let Some(value) = self.find(key) else {
            self.note(key, printed, None);
            if default.is_none() {
                self.missing(key, example);
            }
            return default;
        };
        let Some(items) = value.get_ref().as_array() else {
            self.note(key, printed, None);
            let problem = format!("{} is not a list", quote(value.get_ref()));
            self.fault(key, value, problem, format!("{key} = {example}"));
            return None;
        };
        let mut read = Vec::with_capacity(items.len());
        let mut good = true;
        for (index, item) in items.iter().enumerate() {
            if let Some(one) = T::read(item.get_ref()) {
                read.push(one);
            } else {
                good = false;
                let problem = format!("item {}, {}, is not {}", index + 1, quote(item.get_ref()), T::WANTED);
                self.fault(key, item, problem, format!("{key} = {example}"));
            }
        }
        self.note(key, printed, good.then(|| print(&read)));
        good.then_some(read)
    }

    /// A table of values under names that the program does not know; empty if it is left out.
    pub(super) fn named<T: Setting>(&mut self, key: &'static str, example: &str) -> Option<Vec<(String, T)>> {
        let Some(value) = self.find(key) else {
            self.note(key, None, None);
            return Some(Vec::new());
        };
        self.note(key, None, Some("{ … }".to_owned()));
        let Some(table) = value.get_ref().as_table() else {
            let problem = format!("{} is not a table", quote(value.get_ref()));
            self.fault(key, value, problem, format!("{key} = {example}"));
            return None;
        };
        let mut read = Vec::with_capacity(table.len());
        let mut good = true;
        for (name, item) in table {
            if let Some(one) = T::read(item.get_ref()) {
                read.push((name.get_ref().to_string(), one));
            } else {
                good = false;
                let problem = format!("{}, {}, is not {}", name.get_ref(), quote(item.get_ref()), T::WANTED);
                self.fault(key, item, problem, format!("{key} = {example}"));
            }
        }
        good.then_some(read)
    }

    /// Keeps `value` only if it lies in `range`; `why` says where the limits come from.
    pub(super) fn within<T: Setting + PartialOrd>(
        &mut self,
        key: &'static str,
        value: Option<T>,
        range: &RangeInclusive<T>,
        why: &str,
    ) -> Option<T> {
        let value = value?;
        if range.contains(&value) {
            return Some(value);
        }
        let (least, most) = (range.start().write(), range.end().write());
        let (bound, nearest) = if value < *range.start() { ("least", &least) } else { ("most", &most) };
        let problem = format!("{} is outside {least} to {most}: {why}", value.write());
        self.fault_of(key, problem, format!("{key} = {nearest}  (the {bound} that is allowed)"));
        None
    }

    /// A section inside this one; reads as empty if it is not there.
    fn child(&mut self, key: &'static str) -> Section<'_, 'a, 't> {
        let value = self.find(key);
        let table = value.and_then(|it| it.get_ref().as_table());
        if let (Some(value), None) = (value, table) {
            let problem = format!("{} is not a section", quote(value.get_ref()));
            self.fault(key, value, problem, format!("[{}]", self.full(key)));
        }
        let path = self.full(key);
        Section { reader: self.reader, table, path, asked: Vec::new() }
    }

    /// Reads a section inside this one and complains of what it does not know.
    pub(super) fn part<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_, 'a, 't>) -> Option<T>,
    ) -> Option<T> {
        let mut section = self.child(key);
        let found = read(&mut section);
        section.finish();
        found
    }

    /// Reads every table of `[[key]]` by `read`.
    pub(super) fn each<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&mut Section<'_, 'a, 't>) -> T,
    ) -> Vec<T> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            let problem = format!("{key} can stand in the file several times");
            self.fault(key, value, problem, format!("[[{key}]] in double brackets"));
            return Vec::new();
        };
        let mut found = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{}]", self.full(key), index + 1);
            let Some(table) = item.get_ref().as_table() else {
                let problem = format!("{} is not a section", quote(item.get_ref()));
                self.fault(key, item, problem, format!("[[{key}]]"));
                continue;
            };
            let mut section = Section { reader: self.reader, table: Some(table), path, asked: Vec::new() };
            found.push(read(&mut section));
            section.finish();
        }
        found
    }

    /// Every key that nobody asked for is a fault.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        for (key, _) in table.iter().filter(|(key, _)| !self.asked.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            let remedy = nearest(name, &self.asked).map_or_else(
                || format!("remove it; here stand: {}", self.asked.join(", ")),
                |known| format!("did you mean {known}?"),
            );
            let line = Some(self.reader.lines.at(key.span().start));
            let problem = "there is no such key".to_owned();
            self.reader.faults.push(Fault { key: self.full(name), line, problem, remedy });
        }
    }
}
