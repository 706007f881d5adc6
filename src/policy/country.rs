//! Where Meta does not offer business-initiated calls (reference §16.1): rows of a data file, each with its dates.

use crate::time::Wall;

/// One row: a country, or several with one code, and when the rule holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountryRow {
    /// ISO 3166 codes, for people.
    pub countries: Vec<String>,
    /// E.164 country code.
    pub code: String,
    /// Beginnings of the rest of the number that belong to other countries under the same code.
    pub except: Vec<String>,
    /// From when the rule holds.
    pub from: Wall,
    /// From when it holds no more.
    pub until: Option<Wall>,
}

/// The rows of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountryTable {
    /// In the order of the file.
    pub rows: Vec<CountryRow>,
}

/// When a business number cannot call users because of its country: spans of time, the end not included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unavailable(pub Vec<(Wall, Option<Wall>)>);

impl Unavailable {
    /// Always, for tests and for whoever knows better than the table.
    #[must_use]
    pub fn always() -> Self {
        Self(vec![(Wall(i64::MIN), None)])
    }

    /// Whether it holds at `now`, and until when.
    #[must_use]
    pub fn at(&self, now: Wall) -> Option<Option<Wall>> {
        let holds = |(from, until): &&(Wall, Option<Wall>)| *from <= now && until.is_none_or(|it| now < it);
        self.0.iter().find(holds).map(|(_, until)| *until)
    }
}

impl CountryTable {
    /// What the table says of a business number as it is displayed, with or without `+`, spaces and
    /// dashes; the user's country does not matter.
    #[must_use]
    pub fn of(&self, display_number: &str) -> Unavailable {
        let digits: String = display_number.chars().filter(char::is_ascii_digit).collect();
        let concerns = |row: &&CountryRow| {
            let rest = digits.strip_prefix(row.code.as_str());
            rest.is_some_and(|rest| !row.except.iter().any(|area| rest.starts_with(area.as_str())))
        };
        Unavailable(self.rows.iter().filter(concerns).map(|row| (row.from, row.until)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_for_its_code_and_dates_and_not_for_the_neighbours_under_the_same_code() {
        let row = |code: &str, except: &[&str], from, until: Option<i64>| CountryRow {
            countries: vec!["XX".into()],
            code: code.into(),
            except: except.iter().map(|it| (*it).to_owned()).collect(),
            from: Wall(from),
            until: until.map(Wall),
        };
        let table = CountryTable { rows: vec![row("1", &["876"], 10, None), row("90", &[], 10, Some(20))] };
        assert_eq!(table.of("+1 415 555 0100").at(Wall(10)), Some(None));
        assert_eq!(table.of("+1 415 555 0100").at(Wall(9)), None);
        assert_eq!(table.of("1 876 555 0100").at(Wall(10)), None);
        assert_eq!(table.of("+90 212 555 0100").at(Wall(19)), Some(Some(Wall(20))));
        assert_eq!(table.of("+90 212 555 0100").at(Wall(20)), None);
        assert_eq!(table.of("").at(Wall(10)), None);
    }
}
