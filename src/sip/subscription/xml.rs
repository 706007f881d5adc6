//! Text inside XML.

/// Escapes what has a meaning in XML and leaves out what XML 1.0 cannot hold (§2.2).
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_cannot_leave_its_element() {
        assert_eq!(super::escape("\"Z\u{1}o\u{eb}\" <&'>"), "&quot;Zo\u{eb}&quot; &lt;&amp;&apos;&gt;");
    }
}
