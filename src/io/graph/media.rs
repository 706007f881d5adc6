//! `GET /{MEDIA_ID}` and then the file: sounds that users have left at Meta (reference §5.3).

use serde_json::Value;

use super::judge::End;
use super::{GraphClient, wall_now};
use crate::id::PhoneNumberId;
use crate::masked::Secret;
use crate::whatsapp::{Failure, SoundDigest};

/// Meta takes audio of 16 MB at most (Cloud API, media).
const LARGEST: usize = 16 * 1024 * 1024;

/// A sound as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedSound {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they must be, by the answer that told where they are.
    pub stated: Option<SoundDigest>,
}

impl GraphClient {
    /// Fetches a sound: Graph says where it is, for a few minutes, and the token opens that door, too.
    ///
    /// # Errors
    /// How it ended.
    pub async fn media(
        &self,
        number: &PhoneNumberId,
        token: &Secret<String>,
        media: &str,
    ) -> Result<FetchedSound, Failure> {
        // An id becomes part of a path.
        if media.is_empty() || !media.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Failure::Unreadable);
        }
        let url = format!("{}/{media}", self.root);
        let end =
            self.send(self.client.get(&url).query(&[("phone_number_id", number.as_str())]), token).await;
        end.log("media");
        let End::Answered { body } = end else { return Err(end.failure(wall_now())) };
        let told: Value = serde_json::from_slice(&body).map_err(|_| Failure::Unreadable)?;
        let place = told["url"].as_str().and_then(|it| reqwest::Url::parse(it).ok());
        let place = place.filter(|it| self.may_have_the_token(it)).ok_or(Failure::Unreadable)?;
        let mut response = self
            .client
            .get(place)
            .bearer_auth(token.expose())
            .send()
            .await
            .map_err(|error| if error.is_timeout() { Failure::TimedOut } else { Failure::Unreachable })?;
        if !response.status().is_success() {
            tracing::debug!(status = response.status().as_u16(), "a sound of Meta's was not given");
            return Err(Failure::Unreadable);
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| Failure::Unreachable)? {
            if bytes.len() + chunk.len() > LARGEST {
                return Err(Failure::Unreadable);
            }
            bytes.extend_from_slice(&chunk);
        }
        let stated = told["sha256"].as_str().and_then(SoundDigest::parse);
        Ok(FetchedSound { bytes, stated })
    }

    /// The token goes over TLS, or to where Graph itself is.
    fn may_have_the_token(&self, url: &reqwest::Url) -> bool {
        let root = reqwest::Url::parse(&self.root).ok();
        let same = root.is_some_and(|it| it.origin() == url.origin());
        same || url.scheme() == "https"
    }
}
