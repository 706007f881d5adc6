//! What Graph says of tokens, apps, accounts and numbers: read by `cordboard doctor`, for people at a keyboard.
//!
//! Sources: developers.facebook.com, "Debug Token" (`debug_token`), "App Subscriptions" (`/{APP_ID}/subscriptions`),
//! "Manage Webhooks" (`/{WABA_ID}/subscribed_apps`), "Phone Number" (fields of `/{PHONE_NUMBER_ID}`).

use reqwest::header::DATE;
use serde_json::Value;

use super::GraphClient;
use super::settings::{SettingsError, ask};
use crate::id::PhoneNumberId;
use crate::masked::Secret;
use crate::time::Wall;

impl GraphClient {
    /// Meta's clock, in whole seconds.
    ///
    /// # Errors
    /// Graph cannot be reached, or tells no time: why.
    pub async fn clock(&self) -> Result<Wall, String> {
        let response = self.client.head(&self.root).send().await.map_err(|error| {
            let error = error.without_url();
            let mut deepest: &dyn std::error::Error = &error;
            while let Some(source) = deepest.source() {
                deepest = source;
            }
            deepest.to_string()
        })?;
        let date = response.headers().get(DATE).and_then(|it| it.to_str().ok());
        let date = date.and_then(|it| jiff::fmt::rfc2822::parse(it).ok());
        date.map(|it| Wall::from_secs(it.timestamp().as_second()))
            .ok_or_else(|| "it tells no time".to_owned())
    }

    /// What a token is good for: `data` of `debug_token`.
    ///
    /// # Errors
    /// Why not.
    pub async fn token_facts(&self, token: &Secret<String>) -> Result<Value, SettingsError> {
        let request = self.client.get(format!("{}/debug_token", self.root));
        let mut answer = ask(request.query(&[("input_token", token.expose())]), token).await?;
        Ok(answer["data"].take())
    }

    /// What the number is.
    ///
    /// # Errors
    /// Why not.
    pub async fn number_facts(
        &self,
        number: &PhoneNumberId,
        token: &Secret<String>,
    ) -> Result<Value, SettingsError> {
        let fields = "display_phone_number,platform_type,is_on_biz_app,status,quality_rating";
        self.fields(number.as_str(), fields, token).await
    }

    /// To how many users a day it may write. The field's name has changed: one that Graph does not know is an error
    /// of the whole request.
    ///
    /// # Errors
    /// Why not.
    pub async fn number_limit(
        &self,
        number: &PhoneNumberId,
        token: &Secret<String>,
    ) -> Result<Value, SettingsError> {
        let new = self
            .fields(number.as_str(), "whatsapp_business_manager_messaging_limit,account_mode", token)
            .await;
        match new {
            Err(SettingsError::Refused { code: 100, .. }) => {
                self.fields(number.as_str(), "messaging_limit_tier,account_mode", token).await
            }
            other => other,
        }
    }

    /// Its `health_status` (reference §7.3).
    ///
    /// # Errors
    /// Why not.
    pub async fn health(
        &self,
        number: &PhoneNumberId,
        token: &Secret<String>,
    ) -> Result<Value, SettingsError> {
        let mut answer = self.fields(number.as_str(), "health_status", token).await?;
        Ok(answer["health_status"].take())
    }

    /// The numbers of an account.
    ///
    /// # Errors
    /// Why not.
    pub async fn numbers_of(
        &self,
        account: &str,
        token: &Secret<String>,
    ) -> Result<Vec<PhoneNumberId>, SettingsError> {
        let url = format!("{}/{account}/phone_numbers", self.root);
        let answer = ask(self.client.get(url).query(&[("fields", "id"), ("limit", "200")]), token).await?;
        let numbers = answer["data"].as_array().into_iter().flatten();
        Ok(numbers.filter_map(|it| it["id"].as_str()).map(PhoneNumberId::from).collect())
    }

    /// The ids of the apps that an account tells what happens.
    ///
    /// # Errors
    /// Why not.
    pub async fn subscribed_apps(
        &self,
        account: &str,
        token: &Secret<String>,
    ) -> Result<Vec<String>, SettingsError> {
        let answer = ask(self.client.get(format!("{}/{account}/subscribed_apps", self.root)), token).await?;
        let apps = answer["data"].as_array().into_iter().flatten();
        Ok(apps.filter_map(|it| it["whatsapp_business_api_data"]["id"].as_str()).map(str::to_owned).collect())
    }

    /// What an app is told of, and where: `data` of its subscriptions. Asked with the app's own token.
    ///
    /// # Errors
    /// Why not; refused: the secret is another app's.
    pub async fn app_subscriptions(
        &self,
        app: &str,
        secret: &Secret<String>,
    ) -> Result<Value, SettingsError> {
        let own = Secret::new(format!("{app}|{}", secret.expose()));
        let mut answer = ask(self.client.get(format!("{}/{app}/subscriptions", self.root)), &own).await?;
        Ok(answer["data"].take())
    }

    async fn fields(&self, id: &str, fields: &str, token: &Secret<String>) -> Result<Value, SettingsError> {
        ask(self.client.get(format!("{}/{id}", self.root)).query(&[("fields", fields)]), token).await
    }
}
