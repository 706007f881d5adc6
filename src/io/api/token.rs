//! Who asks: bearer tokens (RFC 6750), known by their SHA-256 only.

use std::collections::BTreeSet;

use aws_lc_rs::digest;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::Api;
use super::problem::{Kind, Problem};
use crate::config::{ApiScope, TokenConfig};
use crate::user::UserId;

/// Whose token came with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's name.
    pub name: String,
    scopes: BTreeSet<ApiScope>,
}

/// Whether users' numbers, ids and names are told in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// All but the last two characters are covered.
    Masked,
    /// Nothing is.
    Open,
}

impl Cover {
    /// `text`, covered or not.
    #[must_use]
    pub fn text(self, text: &str) -> String {
        match self {
            Self::Masked => crate::masked::mask(text),
            Self::Open => text.to_owned(),
        }
    }
}

impl Cover {
    /// A user in one text, covered or not.
    #[must_use]
    pub fn user(self, user: &UserId) -> String {
        match (self, user.phone(), user.scoped()) {
            (Self::Open, Some(phone), _) => phone.digits().to_owned(),
            (Self::Open, None, Some(scoped)) => scoped.as_str().to_owned(),
            _ => user.to_string(),
        }
    }
}

impl Caller {
    /// Goes on if the token is good for `scope`.
    ///
    /// # Errors
    /// 403 otherwise.
    pub fn needs(&self, scope: ApiScope) -> Result<(), Problem> {
        if self.scopes.contains(&scope) { Ok(()) } else { Err(Problem::lacks(scope)) }
    }

    /// What the token may see of users.
    #[must_use]
    pub fn cover(&self) -> Cover {
        if self.scopes.contains(&ApiScope::Identities) { Cover::Open } else { Cover::Masked }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Kind::NoToken.because("no token was looked at"))
    }
}

/// The tokens of the file.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<TokenConfig>);

impl Tokens {
    /// The tokens that are good.
    #[must_use]
    pub const fn new(tokens: Vec<TokenConfig>) -> Self {
        Self(tokens)
    }

    /// Whose token this is; how long it takes does not tell how much of it was right.
    fn caller(&self, token: &str) -> Option<Caller> {
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        let mut found = None;
        for known in &self.0 {
            if bool::from(known.sha256.0[..].ct_eq(hash.as_ref())) {
                let scopes = known.scopes.iter().copied().collect();
                found = Some(Caller { name: known.name.clone(), scopes });
            }
        }
        found
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Lets only those in who bring a token of ours.
pub(super) async fn authenticate(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let Some(token) = bearer(request.headers()) else {
        return Kind::NoToken.because("send `Authorization: Bearer TOKEN`").into_response();
    };
    let Some(caller) = api.tokens().caller(token) else {
        tracing::warn!("a request of the API came with an unknown token");
        return Kind::NoToken.because("this token is not known; see [[api.token]]").into_response();
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TokenDigest;

    fn tokens() -> Tokens {
        let hash = digest::digest(&digest::SHA256, b"swordfish");
        let sha256 = TokenDigest(hash.as_ref().try_into().expect("32 bytes"));
        Tokens::new(vec![TokenConfig { name: "crm".into(), sha256, scopes: vec![ApiScope::ReadCalls] }])
    }

    #[test]
    fn a_token_is_good_for_its_scopes_and_nothing_else() {
        let caller = tokens().caller("swordfish").expect("known");
        assert_eq!((caller.name.as_str(), caller.cover()), ("crm", Cover::Masked));
        assert_eq!(caller.needs(ApiScope::ReadCalls), Ok(()));
        assert_eq!(caller.needs(ApiScope::WriteCalls).expect_err("lacks it").status, 403);
        assert_eq!(tokens().caller("Swordfish"), None);
        assert_eq!(tokens().caller(""), None);
    }

    #[test]
    fn the_scheme_may_be_written_in_any_case() {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "bEARER abc".parse().expect("ascii"));
        assert_eq!(bearer(&headers), Some("abc"));
        headers.insert(header::AUTHORIZATION, "Basic abc".parse().expect("ascii"));
        assert_eq!(bearer(&headers), None);
    }
}
