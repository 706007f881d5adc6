//! `cordboard password`: turns a phone's password into the HA1 that the configuration names.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use zeroize::Zeroizing;

use super::{Exit, complain, say};
use crate::config::PasswordAlgorithm;
use crate::sip::DigestAlgorithm;

/// Makes the HA1 of a phone's password; the password is read from the terminal or from stdin.
///
/// The configuration names the file that holds it, so `--out FILE` prints lines that are ready to paste.
#[derive(Debug, Args)]
pub struct PasswordArgs {
    /// The digest algorithm; every phone knows md5.
    #[arg(long, value_enum, default_value_t = Algorithm::Md5)]
    algorithm: Algorithm,
    /// The phone's name, as in its phone section.
    #[arg(long)]
    user: String,
    /// `sip.realm` of the configuration.
    #[arg(long, default_value = "cordboard")]
    realm: String,
    /// Writes the HA1 into this new file, readable by its owner only, instead of printing it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Algorithm {
    Md5,
    #[value(name = "sha-256")]
    Sha256,
    #[value(name = "sha-512-256")]
    Sha512_256,
}

impl From<Algorithm> for PasswordAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5,
            Algorithm::Sha256 => Self::Sha256,
            Algorithm::Sha512_256 => Self::Sha512_256,
        }
    }
}

pub(super) fn password(args: &PasswordArgs) -> Exit {
    let password = match read_password() {
        Ok(password) => password,
        Err(error) => {
            complain(format_args!("the password could not be read: {error}"));
            return Exit::Unavailable;
        }
    };
    if password.is_empty() {
        complain(
            "the password is empty: type one, or pipe it in: printf '%s' PASSWORD | cordboard password ...",
        );
        return Exit::Usage;
    }
    if args.user.contains(':') || args.realm.contains([':', '"']) {
        complain("neither the user nor the realm may hold a colon, nor the realm a quotation mark");
        return Exit::Usage;
    }
    let algorithm = PasswordAlgorithm::from(args.algorithm);
    let ha1 = Zeroizing::new(DigestAlgorithm::from(args.algorithm).ha1(&args.user, &args.realm, &password));
    let Some(file) = &args.out else {
        say(format_args!("algorithm = \"{}\"", algorithm.as_str()));
        say(format_args!("ha1 = \"{}\"", *ha1));
        complain("# secrets stand in files of their own: add --out FILE for lines that are ready to paste");
        return Exit::Done;
    };
    if let Err(error) = write_secret(file, &ha1) {
        complain(format_args!("{} could not be written: {error}", file.display()));
        return Exit::Unavailable;
    }
    // The configuration's relative paths start at its own folder, not at ours.
    let path = std::path::absolute(file).unwrap_or_else(|_| file.clone());
    say(format_args!("algorithm = \"{}\"", algorithm.as_str()));
    say(format_args!("ha1 = {{ file = {:?} }}", path.display().to_string()));
    Exit::Done
}

/// Creates `file` for its owner only; an existing one is left alone.
fn write_secret(file: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    writeln!(file, "{text}")
}

impl From<Algorithm> for DigestAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5,
            Algorithm::Sha256 => Self::Sha256,
            Algorithm::Sha512_256 => Self::Sha512_256,
        }
    }
}

/// One line of stdin without its line break; a terminal does not show what is typed.
fn read_password() -> io::Result<Zeroizing<String>> {
    let stdin = io::stdin();
    let mut line = Zeroizing::new(String::new());
    if stdin.is_terminal() {
        let _ = io::stderr().write_all(b"Password: ");
        let silence = Silence::new()?;
        stdin.lock().read_line(&mut line)?;
        drop(silence);
        complain("");
    } else {
        stdin.lock().read_line(&mut line)?;
    }
    let kept = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(kept);
    Ok(line)
}

/// A terminal without echo, until dropped.
struct Silence(libc::termios);

impl Silence {
    fn new() -> io::Result<Self> {
        // SAFETY: an all-zero termios is a valid value, and tcgetattr writes only inside it.
        let mut before: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is stdin, the pointer is to a live termios.
        if unsafe { libc::tcgetattr(libc::STDIN_FILENO, &raw mut before) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut silent = before;
        silent.c_lflag &= !libc::ECHO;
        // SAFETY: as above; the structure is only read.
        if unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSAFLUSH, &raw const silent) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // SAFETY: as in `new`; a terminal that has gone away needs no echo.
        let _ = unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSAFLUSH, &raw const self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7616 §3.9.1 prints no HA1; these are of the same credentials, made with coreutils.
    #[test]
    fn the_ha1_is_the_hash_of_user_realm_and_password() {
        let of = |algorithm| {
            DigestAlgorithm::from(algorithm).ha1("Mufasa", "http-auth@example.org", "Circle of Life")
        };
        assert_eq!(of(Algorithm::Md5), "3d78807defe7de2157e2b0b6573a855f");
        assert_eq!(of(Algorithm::Sha256), "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232");
    }

    #[test]
    fn the_secret_is_written_once_and_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("phone-1001");
        write_secret(&file, "abc").expect("new");
        assert_eq!(std::fs::read_to_string(&file).expect("there"), "abc\n");
        assert_eq!(file.metadata().expect("there").permissions().mode() & 0o777, 0o600);
        assert!(write_secret(&file, "def").is_err(), "a secret in use is not overwritten");
    }
}
