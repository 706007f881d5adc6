//! `GET` and `POST /{PHONE_NUMBER_ID}/settings`: for people at a keyboard, so Meta's own words come along.

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

use super::{ANSWER_LIMIT, GraphClient};
use crate::id::PhoneNumberId;
use crate::masked::Secret;

/// Why Meta's settings could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The token has characters that no header can carry.
    #[error("the access token has characters that no header can carry")]
    Token,
    /// No answer.
    #[error("Graph cannot be reached: {0}")]
    Unreachable(String),
    /// Meta said no.
    #[error("Meta refused ({code}): {said}")]
    Refused {
        /// Its code, 0 if it gave none.
        code: i64,
        /// Its words.
        said: String,
    },
    /// An answer that is not Graph's.
    #[error("HTTP {0} with an answer that is not Graph's")]
    Unreadable(StatusCode),
}

impl GraphClient {
    /// The calling settings of a number: what stands under `calling`.
    ///
    /// # Errors
    /// Why not.
    pub async fn settings(
        &self,
        number: &PhoneNumberId,
        token: &Secret<String>,
    ) -> Result<Value, SettingsError> {
        let url = format!("{}/{number}/settings", self.root);
        let mut answer = ask(self.client.get(url), token).await?;
        Ok(answer["calling"].take())
    }

    /// Changes settings of a number; `body` as reference §5 has it.
    ///
    /// # Errors
    /// Why not; nothing has changed then, unless Graph was not reached.
    pub async fn change_settings(
        &self,
        number: &PhoneNumberId,
        token: &Secret<String>,
        body: &Value,
    ) -> Result<(), SettingsError> {
        let url = format!("{}/{number}/settings", self.root);
        ask(self.client.post(url).json(body), token).await.map(drop)
    }
}

pub(super) async fn ask(request: RequestBuilder, token: &Secret<String>) -> Result<Value, SettingsError> {
    let mut bearer =
        HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| SettingsError::Token)?;
    bearer.set_sensitive(true);
    let unreachable = |error: reqwest::Error| SettingsError::Unreachable(error.without_url().to_string());
    let mut response = request.header(AUTHORIZATION, bearer).send().await.map_err(unreachable)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > ANSWER_LIMIT {
            return Err(SettingsError::Unreadable(status));
        }
        body.extend_from_slice(&chunk);
    }
    let answer: Value = serde_json::from_slice(&body).map_err(|_| SettingsError::Unreadable(status))?;
    let error = &answer["error"];
    if error.is_object() {
        let details = error["error_data"]["details"].as_str().or(error["message"].as_str());
        // Nothing of a text from outside may move the cursor of a terminal.
        let said = details.unwrap_or("no reason").chars().filter(|it| !it.is_control()).take(300).collect();
        return Err(SettingsError::Refused { code: error["code"].as_i64().unwrap_or(0), said });
    }
    if status.is_success() { Ok(answer) } else { Err(SettingsError::Unreadable(status)) }
}
