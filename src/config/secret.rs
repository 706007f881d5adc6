//! Where secrets come from, and what of the machine a configuration may ask for.

use std::io;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use super::reader::Section;
use super::setting::quote;
use crate::masked::Secret;

/// What reading a configuration asks of the machine; tests hand in their own.
pub trait Surroundings {
    /// The text of a file.
    ///
    /// # Errors
    /// As the operating system says.
    fn read_file(&self, path: &Path) -> io::Result<String>;
    /// Who may read a file: its permission bits, `0o640`.
    fn permissions(&self, path: &Path) -> Option<u32>;
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The machine itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl Surroundings for Machine {
    fn read_file(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn permissions(&self, path: &Path) -> Option<u32> {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).ok().map(|it| it.permissions().mode() & 0o777)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// The forms in which the file may name a secret.
const FORMS: [&str; 3] = ["file", "env", "credential"];

impl Section<'_, '_, '_> {
    /// A required secret: `{ file = "…" }`, `{ env = "…" }` or `{ credential = "…" }`.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<Secret<String>> {
        let example = format!("{{ credential = {:?} }}", key.replace('_', "-"));
        let value = self.take(key, &example)?;
        self.secret_value(key, value)
    }

    /// A required list of at least one secret.
    pub(super) fn secrets(&mut self, key: &'static str) -> Option<Vec<Secret<String>>> {
        let example = "[{ credential = \"app-secret\" }]";
        let value = self.take(key, example)?;
        let Some(items) = value.get_ref().as_array().filter(|items| !items.is_empty()) else {
            let problem = "must be a list of one or more secrets".to_owned();
            self.fault(key, value, problem, format!("{key} = {example}"));
            return None;
        };
        // Every item is read before the first bad one ends it, so that all faults show.
        let found: Vec<_> = items.iter().map(|item| self.secret_value(key, item)).collect();
        found.into_iter().collect()
    }

    fn secret_value(&mut self, key: &'static str, value: &Spanned<DeValue<'_>>) -> Option<Secret<String>> {
        let name = key.replace('_', "-");
        let remedy = format!(
            "{key} = {{ credential = \"{name}\" }}  (systemd: LoadCredential={name}:/etc/cordboard/secrets/{name})\n\
             {key} = {{ file = \"/etc/cordboard/secrets/{name}\" }}  or  {{ env = \"CORDBOARD_{}\" }}",
            key.to_uppercase()
        );
        let entry = match value.get_ref() {
            DeValue::String(_) => {
                let problem = "a secret must not stand in this file in plain text".to_owned();
                self.fault(key, value, problem, remedy);
                return None;
            }
            DeValue::Table(table) if table.len() == 1 => table.iter().next(),
            _ => None,
        };
        let (form, source) = match entry {
            Some((form, source)) if FORMS.contains(&form.get_ref().as_ref()) => (form.get_ref(), source),
            _ => {
                let problem = "a secret is named by exactly one of file, env or credential".to_owned();
                self.fault(key, value, problem, remedy);
                return None;
            }
        };
        let Some(source_text) = source.get_ref().as_str().filter(|it| !it.is_empty()) else {
            let problem = format!("{} is not the name of a secret's {form}", quote(source.get_ref()));
            self.fault(key, value, problem, remedy);
            return None;
        };
        let outcome = if form == "env" {
            self.secret_of_variable(source_text)
        } else {
            self.secret_of_file(key, value, form == "credential", source_text)
        };
        match outcome {
            Ok(secret) => Some(secret),
            Err((problem, remedy)) => {
                self.fault(key, value, problem, remedy);
                None
            }
        }
    }

    fn secret_of_variable(&self, name: &str) -> Result<Secret<String>, (String, String)> {
        let remedy = format!("set {name} in the environment of cordboard (systemd: EnvironmentFile=)");
        match self.surroundings().variable(name).map(|it| it.trim().to_owned()) {
            None => Err((format!("the environment variable {name} is not set"), remedy)),
            Some(text) if text.is_empty() => {
                Err((format!("the environment variable {name} is empty"), remedy))
            }
            Some(text) => Ok(Secret::new(text)),
        }
    }

    fn secret_of_file(
        &mut self,
        key: &'static str,
        value: &Spanned<DeValue<'_>>,
        credential: bool,
        name: &str,
    ) -> Result<Secret<String>, (String, String)> {
        let path = if credential {
            let Some(folder) = self.surroundings().variable("CREDENTIALS_DIRECTORY") else {
                let problem = format!("credential {name:?} is not there: $CREDENTIALS_DIRECTORY is not set");
                let remedy = format!(
                    "start cordboard by systemd with LoadCredential={name}:/etc/cordboard/secrets/{name}\n\
                     by hand: CREDENTIALS_DIRECTORY=/etc/cordboard/secrets cordboard check FILE"
                );
                return Err((problem, remedy));
            };
            PathBuf::from(folder).join(name)
        } else {
            self.resolve(Path::new(name))
        };
        let shown = path.display();
        let text = self.surroundings().read_file(&path).map_err(|error| {
            let problem = format!("the secret's file {shown} cannot be read: {}", plain(&error));
            let remedy = if credential {
                format!(
                    "add LoadCredential={name}:/etc/cordboard/secrets/{name} to the unit and put the secret there"
                )
            } else {
                format!("put the secret, alone, into {shown}, readable by cordboard only (chmod 600)")
            };
            (problem, remedy)
        })?;
        let open = self.surroundings().permissions(&path).is_some_and(|mode| mode & 0o007 != 0);
        if open && !credential {
            let problem = format!("every user of this machine can read the secret's file {shown}");
            self.warn(key, value, problem, format!("chmod 600 {shown}"));
        }
        let secret = text.trim().to_owned();
        if secret.is_empty() {
            return Err((
                format!("the secret's file {shown} is empty"),
                format!("put the secret, alone, into {shown}"),
            ));
        }
        Ok(Secret::new(secret))
    }
}

/// An error of the operating system without its number.
pub(super) fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied for the user that runs cordboard".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        _ => error.to_string(),
    }
}
