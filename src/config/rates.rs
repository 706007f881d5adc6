//! The file of rate cards: countries, calling codes, prices with their first day.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::Deserialize;

use crate::billing::{Card, Market, Markets, Rate, RateCard};

/// What is shipped, for a file that names no other.
const BUILT_IN: &str = include_str!("../../config/rates.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    currency: String,
    otherwise: String,
    markets: BTreeMap<String, Vec<String>>,
    codes: BTreeMap<String, Vec<String>>,
    card: Vec<CardOfFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CardOfFile {
    from: String,
    tiers: Vec<u64>,
    per_minute: BTreeMap<String, Vec<String>>,
}

/// The cards that are shipped.
pub(super) fn built_in() -> RateCard {
    read(BUILT_IN).expect("a test reads it")
}

/// Reads a file of rate cards.
///
/// # Errors
/// What is wrong, and where.
pub(super) fn read(text: &str) -> Result<RateCard, String> {
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        let message = error.message();
        line.map_or_else(|| message.to_owned(), |line| format!("line {line}: {message}"))
    })?;
    let markets: BTreeSet<&str> = file.markets.keys().map(String::as_str).collect();
    if !markets.contains(file.otherwise.as_str()) {
        return Err(format!("otherwise = {:?} is not one of [markets]", file.otherwise));
    }
    if file.card.is_empty() {
        return Err("there is no [[card]]".to_owned());
    }
    let cards = file.card.iter().map(|it| card(it, &markets)).collect::<Result<_, _>>()?;
    Ok(RateCard::new(file.currency.clone(), countries(&file)?, cards))
}

fn countries(file: &File) -> Result<Markets, String> {
    let mut by_country = BTreeMap::new();
    for (market, countries) in &file.markets {
        for country in countries {
            if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
                return Err(format!("markets.{market}: {country:?} is not two capital letters of ISO 3166"));
            }
            if by_country.insert(country.clone(), Market::from(market.as_str())).is_some() {
                return Err(format!("markets.{market}: {country} stands in two markets"));
            }
        }
    }
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (country, codes) in &file.codes {
        if !by_country.contains_key(country) {
            return Err(format!("codes.{country}: no market has this country"));
        }
        for code in codes {
            if !(1..=7).contains(&code.len()) || !code.bytes().all(|b| b.is_ascii_digit()) {
                return Err(format!("codes.{country}: {code:?} is not the beginning of a number"));
            }
            if let Some(other) = taken.insert(code, country) {
                return Err(format!("codes.{country}: {code} is already a code of {other}"));
            }
        }
    }
    Ok(Markets::new(by_country, &file.codes, file.otherwise.as_str().into()))
}

fn card(card: &CardOfFile, markets: &BTreeSet<&str>) -> Result<Card, String> {
    let from = &card.from;
    let day =
        from.parse::<Date>().map_err(|_| format!("from = {from:?} is not a day like \"2026-07-01\""))?;
    if !card.tiers.is_sorted_by(|a, b| a < b) || card.tiers.iter().any(|it| *it > u64::MAX / 1000) {
        return Err(format!("card of {from}: tiers do not rise"));
    }
    let mut rates = BTreeMap::new();
    for (market, texts) in &card.per_minute {
        if !markets.contains(market.as_str()) {
            return Err(format!("card of {from}: {market} is not one of [markets]"));
        }
        if texts.is_empty() || texts.len() > card.tiers.len() + 1 {
            let most = card.tiers.len() + 1;
            return Err(format!(
                "card of {from}: {market} has {} rates; 1 to {most} fit the tiers",
                texts.len()
            ));
        }
        let read = |text: &String| {
            let wrong = || format!("card of {from}: {market}: {text:?} is not a rate like \"0.0108\"");
            Rate::parse(text).ok_or_else(wrong)
        };
        let list = texts.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        rates.insert(Market::from(market.as_str()), list);
    }
    Ok(Card { from: day, tiers: card.tiers.clone(), rates })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::{Msisdn, UserId};

    fn market(card: &RateCard, digits: &str) -> String {
        card.markets.of(&UserId::Phone(Msisdn::parse(digits).expect("digits"))).to_string()
    }

    #[test]
    fn the_shipped_cards_know_the_markets_of_the_reference() {
        let card = built_in();
        for (digits, expected) in [
            ("5521955500123", "brazil"),
            ("4930555", "germany"),
            ("79165550100", "russia"),
            ("77015550100", "other"),
            ("14155550100", "north_america"),
            ("18295550100", "rest_of_latin_america"),
            ("17875550100", "rest_of_latin_america"),
            ("12425550100", "other"),
            ("2125550100", "rest_of_africa"),
            ("3805550100", "rest_of_central_and_eastern_europe"),
            ("9955550100", "rest_of_central_and_eastern_europe"),
            ("9515550100", "other"),
        ] {
            assert_eq!(market(&card, digits), expected, "{digits}");
        }
        let rates = |day: &str, market: &str| {
            let (_, rates) = card.rates(day.parse().expect("a day"), &market.into())?;
            Some(rates.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(rates("2026-06-30", "rest_of_africa").expect("rated"), ["0.0108"]);
        assert_eq!(rates("2026-07-01", "rest_of_africa").expect("rated").len(), 6);
        assert_eq!(rates("2026-07-01", "germany").expect("of the card before"), ["0.0108"]);
        assert_eq!((rates("2025-07-31", "germany"), rates("2026-01-01", "north_america")), (None, None));
    }

    #[test]
    fn every_slip_in_a_card_is_named_with_its_place() {
        let wrong = |from: &str, to: &str| {
            assert!(BUILT_IN.contains(from), "{from}");
            read(&BUILT_IN.replacen(from, to, 1)).expect_err(to)
        };
        let line = 1 + BUILT_IN.lines().position(|it| it.starts_with("tiers")).expect("tiers");
        assert!(wrong("tiers = [50_000,", "tiers = [\"x\",").starts_with(&format!("line {line}: ")));
        assert_eq!(
            wrong("\"0.0106\"", "\"0,0106\""),
            "card of 2025-08-01: argentina: \"0,0106\" is not a rate like \"0.0108\""
        );
        assert_eq!(wrong("AF = [\"93\"]", "AF = [\"971\"]"), "codes.AF: 971 is already a code of AE");
        assert_eq!(
            wrong("\"AL\", ", "\"AR\", "),
            "markets.rest_of_central_and_eastern_europe: AR stands in two markets"
        );
        assert!(wrong("from = \"2025-08-01\"", "from = \"08/2025\"").contains("is not a day"));
        assert!(wrong("otherwise = \"other\"", "otherwise = \"rest\"").contains("is not one of [markets]"));
        assert!(wrong("chile = [\"0.0127\"]", "chile = []").contains("chile has 0 rates; 1 to 6"));
        assert!(wrong("[50_000, 250_000", "[250_000, 50_000").contains("tiers do not rise"));
    }
}
