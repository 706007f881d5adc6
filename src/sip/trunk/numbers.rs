//! Numbers as a trunk writes them, and back: a form, and rules for what a form cannot say.
//!
//! Here a telephone number is `+` and the digits of E.164. On the way out the form comes first and then the rules;
//! on the way in it is the other way round, so that what goes out comes back as it was.

use regex_lite::Regex;

/// How a trunk writes telephone numbers; what is none (an extension, a name) stays what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NumberForm {
    /// As they come.
    #[default]
    AsIs,
    /// `+4930123456`
    Plus,
    /// `4930123456`
    Digits,
    /// `004930123456`
    DoubleZero,
    /// `030123456` in the country, `0033123456` abroad.
    National,
}

/// Whose number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberOf {
    /// The one that is dialled.
    Called,
    /// The one that is shown.
    Caller,
}

/// Which way a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberWay {
    /// To the trunk.
    Out,
    /// From the trunk.
    In,
}

/// Which numbers a rule is for.
#[derive(Clone, Debug)]
pub enum NumberPattern {
    /// Those that begin so; the replacement takes the place of the beginning.
    Prefix(String),
    /// Those in which this is found; the replacement takes the place of what was found.
    Expression(Regex),
}

/// Why a rule cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleFault {
    /// It is no regular expression; the text says where.
    Expression(String),
    /// The replacement names a group that the expression does not have.
    Group(String),
}

/// One rule: of those for the same way and the same number, the first that fits changes it.
#[derive(Clone, Debug)]
pub struct NumberRule {
    /// Which way.
    pub way: NumberWay,
    /// Which number.
    pub of: NumberOf,
    /// Which of them.
    pub pattern: NumberPattern,
    /// What they become; `$1` or `${1}` is the first group of an expression.
    pub replacement: String,
}

/// All that is done to the numbers of a trunk.
#[derive(Clone, Debug, Default)]
pub struct Numbering {
    /// How the trunk writes numbers.
    pub form: NumberForm,
    /// The code of its country, `49`; without it no number is taken for a national one.
    pub country: Option<String>,
    /// What stands before a number inside that country, `0`; empty where there is nothing.
    pub trunk_prefix: String,
    /// What is special.
    pub rules: Vec<NumberRule>,
}

/// What is longer is no number, and not looked at.
const LONGEST: usize = 64;

impl NumberPattern {
    /// A regular expression (no look-around, no back-references: its time grows with the length of the number only).
    ///
    /// # Errors
    /// It cannot be read, or `replacement` names a group that it lacks.
    pub fn expression(text: &str, replacement: &str) -> Result<Self, RuleFault> {
        let expression = Regex::new(text).map_err(|error| RuleFault::Expression(error.to_string()))?;
        match groups(replacement).find(|group| !has_group(&expression, group)) {
            Some(group) => Err(RuleFault::Group(group.to_owned())),
            None => Ok(Self::Expression(expression)),
        }
    }
}

/// The groups that a replacement names: `$1`, `$name`, `${1}`; `$$` is a dollar.
fn groups(replacement: &str) -> impl Iterator<Item = &str> {
    let plain = replacement.split("$$");
    plain.flat_map(|part| part.split('$').skip(1)).map(|after| match after.strip_prefix('{') {
        Some(braced) => braced.split('}').next().unwrap_or(""),
        None => {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            &after[..end]
        }
    })
}

fn has_group(expression: &Regex, group: &str) -> bool {
    match group.parse::<usize>() {
        Ok(number) => number < expression.captures_len(),
        Err(_) => expression.capture_names().flatten().any(|name| name == group),
    }
}

impl NumberRule {
    fn apply(&self, number: &str) -> Option<String> {
        match &self.pattern {
            NumberPattern::Prefix(prefix) => {
                let rest = number.strip_prefix(prefix.as_str())?;
                Some(format!("{}{rest}", self.replacement))
            }
            NumberPattern::Expression(expression) => expression
                .is_match(number)
                .then(|| expression.replace(number, self.replacement.as_str()).into_owned()),
        }
    }
}

impl Numbering {
    /// A number of ours as the trunk wants it.
    #[must_use]
    pub fn outward(&self, of: NumberOf, number: &str) -> String {
        self.ruled(NumberWay::Out, of, self.written(number))
    }

    /// A number of the trunk's as we write it: E.164 with `+` where it is one.
    #[must_use]
    pub fn inward(&self, of: NumberOf, number: &str) -> String {
        let number = self.ruled(NumberWay::In, of, number.to_owned());
        let international = match self.form {
            NumberForm::AsIs => None,
            _ => self.international(&number).or_else(|| match of {
                // What is dialled may have a dial plan's prefix before it: only the caller's digits are a number.
                NumberOf::Called => None,
                NumberOf::Caller => self.bare(&number),
            }),
        };
        international.map_or(number, |digits| format!("+{digits}"))
    }

    fn ruled(&self, way: NumberWay, of: NumberOf, number: String) -> String {
        if number.len() > LONGEST {
            return number;
        }
        let mut rules = self.rules.iter().filter(|rule| rule.way == way && rule.of == of);
        rules.find_map(|rule| rule.apply(&number)).unwrap_or(number)
    }

    /// The number in the trunk's form.
    fn written(&self, number: &str) -> String {
        let Some(digits) = self.international(number) else { return number.to_owned() };
        match self.form {
            NumberForm::AsIs => number.to_owned(),
            NumberForm::Plus => format!("+{digits}"),
            NumberForm::Digits => digits,
            NumberForm::DoubleZero => format!("00{digits}"),
            NumberForm::National => {
                match self.country.as_ref().and_then(|code| digits.strip_prefix(code.as_str())) {
                    Some(rest) => format!("{}{rest}", self.trunk_prefix),
                    None => format!("00{digits}"),
                }
            }
        }
    }

    /// The digits of E.164, where `+`, `00` or the country's prefix says that it is such a number.
    fn international(&self, number: &str) -> Option<String> {
        if let Some(digits) = number.strip_prefix('+') {
            return plausible(digits).then(|| digits.to_owned());
        }
        let (country, prefix) = (self.country.as_ref(), self.trunk_prefix.as_str());
        let abroad = number.strip_prefix("00").map(str::to_owned);
        let home = || {
            let rest = number.strip_prefix(prefix).filter(|_| !prefix.is_empty())?;
            Some(format!("{}{rest}", country?))
        };
        abroad.or_else(home).filter(|digits| plausible(digits))
    }

    /// The digits of E.164 of a number that nothing marks as one.
    fn bare(&self, number: &str) -> Option<String> {
        let digits = match (self.form, &self.country) {
            (NumberForm::Digits, _) => number.to_owned(),
            (NumberForm::National, Some(country)) if self.trunk_prefix.is_empty() && number.len() >= 6 => {
                format!("{country}{number}")
            }
            _ => return None,
        };
        plausible(&digits).then_some(digits)
    }
}

/// Longer than an extension, no longer than E.164 allows, and with a country code, of which none begins with 0.
fn plausible(digits: &str) -> bool {
    (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_germany(form: NumberForm) -> Numbering {
        Numbering { form, country: Some("49".to_owned()), trunk_prefix: "0".to_owned(), rules: Vec::new() }
    }

    fn prefix(way: NumberWay, of: NumberOf, from: &str, to: &str) -> NumberRule {
        let pattern = NumberPattern::Prefix(from.to_owned());
        NumberRule { way, of, pattern, replacement: to.to_owned() }
    }

    fn expression(way: NumberWay, of: NumberOf, from: &str, to: &str) -> NumberRule {
        let pattern = NumberPattern::expression(from, to).expect("good");
        NumberRule { way, of, pattern, replacement: to.to_owned() }
    }

    const FORMS: [NumberForm; 5] = [
        NumberForm::AsIs,
        NumberForm::Plus,
        NumberForm::Digits,
        NumberForm::DoubleZero,
        NumberForm::National,
    ];

    #[test]
    fn a_number_is_written_in_each_form_and_a_callers_is_read_back() {
        for (form, home, abroad) in [
            (NumberForm::AsIs, "+4930123456", "+5521955500123"),
            (NumberForm::Plus, "+4930123456", "+5521955500123"),
            (NumberForm::Digits, "4930123456", "5521955500123"),
            (NumberForm::DoubleZero, "004930123456", "005521955500123"),
            (NumberForm::National, "030123456", "005521955500123"),
        ] {
            let numbering = in_germany(form);
            for (ours, theirs) in [("+4930123456", home), ("+5521955500123", abroad)] {
                assert_eq!(numbering.outward(NumberOf::Called, ours), theirs, "{form:?}");
                assert_eq!(numbering.outward(NumberOf::Caller, ours), theirs, "{form:?}");
                assert_eq!(numbering.inward(NumberOf::Caller, theirs), ours, "{form:?}");
            }
        }
    }

    #[test]
    fn what_a_phone_dials_is_understood_before_it_is_written() {
        for (dialled, plus) in [
            ("030123456", "+4930123456"),
            ("004930123456", "+4930123456"),
            ("0033123456789", "+33123456789"),
            ("+33123456789", "+33123456789"),
        ] {
            assert_eq!(in_germany(NumberForm::Plus).outward(NumberOf::Called, dialled), plus);
        }
        let nowhere = Numbering { form: NumberForm::Plus, ..Numbering::default() };
        assert_eq!(nowhere.outward(NumberOf::Called, "030123456"), "030123456");
    }

    #[test]
    fn extensions_names_and_scoped_identities_stay_what_they_are() {
        for form in FORMS {
            let numbering = in_germany(form);
            for number in ["200", "0200", "reception", "+12", "*21#", "0122820995511223344556677", ""] {
                for of in [NumberOf::Called, NumberOf::Caller] {
                    assert_eq!(numbering.outward(of, number), number, "{form:?}");
                    assert_eq!(numbering.inward(of, number), number, "{form:?}");
                }
            }
        }
    }

    #[test]
    fn dialled_digits_with_a_dial_plans_prefix_are_not_taken_for_a_number_abroad() {
        for form in FORMS {
            let numbering = in_germany(form);
            assert_eq!(numbering.inward(NumberOf::Called, "85521955500123"), "85521955500123", "{form:?}");
        }
    }

    #[test]
    fn a_country_without_a_prefix_writes_bare_numbers_and_reads_a_callers_back() {
        let spain = Numbering {
            form: NumberForm::National,
            country: Some("34".to_owned()),
            trunk_prefix: String::new(),
            rules: Vec::new(),
        };
        assert_eq!(spain.outward(NumberOf::Called, "+34911234567"), "911234567");
        assert_eq!(spain.inward(NumberOf::Caller, "911234567"), "+34911234567");
        assert_eq!(spain.inward(NumberOf::Caller, "200"), "200");
        assert_eq!(spain.inward(NumberOf::Called, "911234567"), "911234567");
    }

    #[test]
    fn the_first_fitting_rule_counts_after_the_form_on_the_way_out_and_before_it_on_the_way_in() {
        let mut numbering = in_germany(NumberForm::National);
        numbering.rules = vec![
            expression(NumberWay::Out, NumberOf::Called, "^0(30)(.*)$", "${1}#$2"),
            prefix(NumberWay::Out, NumberOf::Called, "0", "9,0"),
            expression(NumberWay::Out, NumberOf::Caller, "^.*$", "030999"),
            expression(NumberWay::In, NumberOf::Caller, "^anonymous$", "0"),
            prefix(NumberWay::In, NumberOf::Called, "7", "00"),
        ];
        assert_eq!(numbering.outward(NumberOf::Called, "+4930123456"), "30#123456");
        assert_eq!(numbering.outward(NumberOf::Called, "+4989123456"), "9,089123456");
        assert_eq!(numbering.outward(NumberOf::Caller, "+5521955500123"), "030999");
        assert_eq!(numbering.inward(NumberOf::Caller, "anonymous"), "0");
        assert_eq!(numbering.inward(NumberOf::Called, "75521955500123"), "+5521955500123");
        assert_eq!(numbering.inward(NumberOf::Caller, "75521955500123"), "75521955500123");
        let long = "0".repeat(LONGEST + 1);
        assert_eq!(numbering.outward(NumberOf::Called, &long), long);
    }

    #[test]
    fn a_replacement_that_names_a_group_of_nobody_is_found_before_it_writes_nothing() {
        for (replacement, group) in [("$2", "2"), ("$19", "19"), ("0$1x", "1x"), ("${area}", "area")] {
            let found = NumberPattern::expression("^0(.*)$", replacement).expect_err(replacement);
            assert_eq!(found, RuleFault::Group(group.to_owned()));
        }
        for replacement in ["", "$0", "$1", "${1}9", "$$2", "+49$1"] {
            assert!(NumberPattern::expression("^0(.*)$", replacement).is_ok(), "{replacement}");
        }
        assert!(matches!(NumberPattern::expression("^0(", ""), Err(RuleFault::Expression(_))));
    }
}
