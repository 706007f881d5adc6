//! What a desk phone shows: names and numbers that no old display chokes on.

use super::message::uri::escape_user;

/// Longest display name sent; many phones have two lines of 16.
const LONGEST: usize = 40;

/// First the plain letter, then the letters that become it.
const PLAIN: [&str; 35] = [
    "AÀÁÂÃÄÅĀĂĄ",
    "aàáâãäåāăąª",
    "CÇĆĈĊČ",
    "cçćĉċč",
    "DĎĐÐ",
    "dďđð",
    "EÈÉÊËĒĔĖĘĚ",
    "eèéêëēĕėęě",
    "GĜĞĠĢ",
    "gĝğġģ",
    "HĤĦ",
    "hĥħ",
    "IÌÍÎÏĨĪĬĮİ",
    "iìíîïĩīĭįı",
    "LĹĻĽĿŁ",
    "lĺļľŀł",
    "NÑŃŅŇ",
    "nñńņň",
    "OÒÓÔÕÖØŌŎŐ",
    "oòóôõöøōŏőº",
    "RŔŖŘ",
    "rŕŗř",
    "SŚŜŞŠȘ",
    "sśŝşšș",
    "TŢŤŦȚ",
    "tţťŧț",
    "UÙÚÛÜŨŪŬŮŰŲ",
    "uùúûüũūŭůűų",
    "YÝŶŸ",
    "yýÿŷ",
    "ZŹŻŽ",
    "zźżž",
    "'‘’‚‛´“”„«»",
    "-‐‑‒–—―",
    " \u{a0}\u{2002}\u{2003}\u{2009}\u{202f}\t",
];

/// `name` reduced to printable ASCII: accents lose their mark, other scripts and emoji fall out.
///
/// Empty if nothing readable is left; the caller then shows the number.
#[must_use]
pub fn plain_display(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        match c {
            // Old phones print the backslash of an escaped quote, too.
            '"' => out.push('\''),
            '\\' => out.push('/'),
            ' '..='~' => out.push(c),
            'ß' => out.push_str("ss"),
            'Æ' => out.push_str("AE"),
            'æ' => out.push_str("ae"),
            'Œ' => out.push_str("OE"),
            'œ' => out.push_str("oe"),
            'Þ' => out.push_str("Th"),
            'þ' => out.push_str("th"),
            _ => {
                let plain = PLAIN.iter().find(|row| row.chars().skip(1).any(|known| known == c));
                out.extend(plain.and_then(|row| row.chars().next()));
            }
        }
    }
    let words: Vec<&str> = out.split_whitespace().collect();
    let mut out = words.join(" ");
    out.truncate(LONGEST);
    if out.chars().any(|c| c.is_ascii_alphanumeric()) { out.trim_end().to_owned() } else { String::new() }
}

/// `number` fit for the user part of a URI: spaces and punctuation of the written form fall out.
///
/// A text that is no number (an extension name) is kept and escaped; an empty one becomes `anonymous`.
#[must_use]
pub fn dialable(number: &str) -> String {
    let kept: String = number.chars().filter(|c| !c.is_whitespace() && !"()".contains(*c)).collect();
    if kept.is_empty() { "anonymous".to_owned() } else { escape_user(&kept) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_26_a_name_keeps_its_letters_and_loses_what_an_old_phone_cannot_show() {
        assert_eq!(plain_display("José  Conceição 🎉🎉"), "Jose Conceicao");
        assert_eq!(plain_display("Łukasz “Luk” Größe"), "Lukasz 'Luk' Grosse");
        assert_eq!(plain_display("a\r\nVia: x\u{0}"), "aVia: x");
        assert_eq!(plain_display("🔥!!🔥"), "");
        assert_eq!(plain_display("张伟"), "");
        assert_eq!(plain_display(&"é".repeat(100)).len(), LONGEST);
    }

    #[test]
    fn a_number_is_dialable_as_it_stands_in_the_uri() {
        assert_eq!(dialable("+55 (21) 95550-0123"), "+552195550-0123");
        assert_eq!(dialable("a@b"), "a%40b");
        assert_eq!(dialable(""), "anonymous");
    }
}
