//! Reads the repository as text, for the tests that look at its shape.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of Cargo.toml.
pub(crate) fn root() -> PathBuf {
    // At run time, as cargo sets it: a copy of the tree can be tested with the same binary.
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// A Rust file.
pub(crate) struct Source {
    /// From the root, `src/call/mod.rs`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// Comments and the insides of literals are blanked out; every byte keeps its line.
    pub(crate) code: String,
    /// `code` without what is only compiled for tests.
    pub(crate) shipped: String,
}

impl Source {
    fn of(path: String, text: String) -> Self {
        let code = blank_words(&text);
        let shipped = blank_tests(&code);
        Self { path, text, code, shipped }
    }

    /// `call` of `src/call/mod.rs`; the library itself and the program have none.
    pub(crate) fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or_default();
        inside.split_once('/').map_or_else(|| inside.trim_end_matches(".rs"), |(module, _)| module)
    }
}

/// Every file below `folder`, as paths from the root; what git ignores is left out.
pub(crate) fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(folder)];
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.map(|it| it.expect("an entry of a folder that exists").path()) {
            let name = entry.file_name().and_then(|it| it.to_str()).expect("plain names").to_owned();
            let ignored = ["target", ".git", ".tools", "out", "__pycache__"].contains(&name.as_str());
            if ignored {
                continue;
            }
            if entry.is_dir() {
                waiting.push(entry);
            } else {
                let path = entry.strip_prefix(root()).expect("below the root");
                found.push(path.to_str().expect("plain names").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file below `folder`; files that only tests compile have nothing `shipped`.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let paths = files(folder).into_iter().filter(|path| path.ends_with(".rs"));
    let read = |path: String| {
        let text = fs::read_to_string(root().join(&path)).expect("UTF-8");
        Source::of(path, text)
    };
    let mut all: Vec<Source> = paths.map(read).collect();
    let tests: Vec<String> = all.iter().flat_map(test_modules).collect();
    for source in &mut all {
        let is_test = |stem: &String| {
            source.path == format!("{stem}.rs") || source.path.starts_with(&format!("{stem}/"))
        };
        if tests.iter().any(is_test) {
            source.shipped.clear();
        }
    }
    all
}

/// The paths, without `.rs`, of the modules that `source` declares for tests only.
fn test_modules(source: &Source) -> Vec<String> {
    let path = Path::new(&source.path);
    let stem = path.file_stem().and_then(|it| it.to_str()).expect("a file");
    let folder = path.parent().and_then(Path::to_str).expect("below the root");
    let inside =
        if ["mod", "lib", "main"].contains(&stem) { folder.to_owned() } else { format!("{folder}/{stem}") };
    let mut found = Vec::new();
    for (at, _) in source.code.match_indices("#[cfg(test)]") {
        let item_end = source.code[at..].find(['{', ';']).map_or(source.code.len(), |end| at + end);
        let item = &source.code[at..item_end];
        let Some((_, name)) = item.rsplit_once("mod ") else { continue };
        if !source.code[item_end..].starts_with(';') {
            continue;
        }
        let original = &source.text[at..item_end];
        let renamed = original.split_once("#[path = \"").and_then(|(_, rest)| rest.split_once('"'));
        found.push(match renamed {
            Some((file, _)) => format!("{folder}/{}", file.trim_end_matches(".rs")),
            None => format!("{inside}/{}", name.trim()),
        });
    }
    found
}

/// The line of a byte, counted from 1.
pub(crate) fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Where `word` stands in `code` with no letter, digit or `_` on the sides where `word` has one.
pub(crate) fn find_word<'t>(code: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back().is_some_and(part) && word.starts_with(part);
        let after = code[at + word.len()..].chars().next().is_some_and(part) && word.ends_with(part);
        !before && !after
    })
}

/// The byte behind the bracket that closes the one at `open`.
pub(crate) fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// Blanks out every item behind `#[cfg(test)]`.
fn blank_tests(code: &str) -> String {
    let mut out = code.to_owned();
    for (at, attribute) in code.match_indices("#[cfg(test)]") {
        let mut from = at + attribute.len();
        // More attributes may follow, with brackets of their own.
        while code[from..].trim_start().starts_with("#[") {
            from = closing(code, from + code[from..].find('[').expect("it starts with one"));
        }
        let Some(end) = code[from..].find(['{', ';']).map(|end| from + end) else { continue };
        let end = if code.as_bytes()[end] == b'{' { closing(code, end) } else { end + 1 };
        out.replace_range(at..end, &blanks(&code[at..end]));
    }
    out
}

/// Blanks of the same length and lines.
fn blanks(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// Blanks out comments and the insides of texts and characters.
pub(crate) fn blank_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let length = literal(rest, out.chars().next_back());
        if length > 0 {
            out.push_str(&blanks(&rest[..length]));
            at += length;
        } else {
            let c = rest.chars().next().expect("not at the end");
            // Bytes keep their places even where a word is not ASCII.
            if c.is_ascii() {
                out.push(c);
            } else {
                out.push_str(&blanks(&rest[..c.len_utf8()]));
            }
            at += c.len_utf8();
        }
    }
    out
}

/// How many bytes of comment or literal `rest` begins with; 0 for code.
fn literal(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        let behind = rest.strip_prefix(prefix).unwrap_or_default();
        let raw = prefix.ends_with('r') && behind.trim_start_matches('#').starts_with('"');
        (prefix.is_empty() || !in_word) && (raw || (!prefix.ends_with('r') && behind.starts_with('"')))
    });
    if let Some(prefix) = prefix {
        return prefix.len() + quoted(&rest[prefix.len()..], prefix.ends_with('r'));
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    0
}

/// The length of a text in quotes, with its `#`s if it is a raw one.
fn quoted(rest: &str, raw: bool) -> usize {
    if raw {
        let hashes = rest.find('"').expect("checked by the caller");
        let end = format!("\"{}", &rest[..hashes]);
        return rest[hashes + 1..].find(&end).map_or(rest.len(), |at| hashes + 1 + at + end.len());
    }
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character in quotes; 0 if it is a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    let Some((_, first)) = chars.next() else { return 0 };
    if first == '\\' {
        return rest[3..].find('\'').map_or(rest.len(), |end| 3 + end + 1);
    }
    chars.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1)
}

#[test]
fn words_in_comments_and_literals_are_not_code() {
    let text = "let a = \"tokio::\\\"x\"; // .await\nlet b: &'a str = r#\"Mutex\"#; let c = '\\''; let d = '{';\nlet e = b\"x\";";
    let code = blank_words(text);
    assert_eq!(code.len(), text.len());
    for word in ["tokio", ".await", "Mutex", "{", "x"] {
        assert!(!code.contains(word), "{word}: {code}");
    }
    assert!(code.contains("&'a str") && code.contains("let e") && code.matches('\n').count() == 2, "{code}");
}

#[test]
fn what_only_tests_compile_is_not_shipped() {
    let source = Source::of(
        "src/a/b.rs".to_owned(),
        "use x;\n#[cfg(test)]\n#[expect(lint, reason = \"{\")]\nmod tests { fn f() { y() } }\nfn z() {}\n#[cfg(test)]\nmod more;\n\
         #[cfg(test)]\n#[path = \"c_tests.rs\"]\nmod odd;\n"
            .to_owned(),
    );
    assert!(!source.shipped.contains("y()") && source.shipped.contains("fn z"), "{}", source.shipped);
    assert_eq!(test_modules(&source), ["src/a/b/more", "src/a/c_tests"]);
}
