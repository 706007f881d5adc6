//! Security row S6 from outside: which versions and cipher suites of TLS the SIP port takes, asked one by one by openssl.

use std::process::{Command, Stdio};

use crate::rig::World;
use crate::rig::gateway::Setup;
use crate::rig::program::{PATIENCE, wait_for};

/// A handshake with these arguments: protocol and suite, or `None` if there is none.
fn handshake(at: &str, arguments: &[&str]) -> Option<(String, String)> {
    let done = Command::new("openssl")
        .args(["s_client", "-brief", "-connect", at])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    let field = |name: &str| {
        let line = told.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    told.contains("CONNECTION ESTABLISHED").then_some(())?;
    Some((field("Protocol version")?, field("Ciphersuite")?))
}

/// Every suite that openssl itself can speak up to TLS 1.2.
fn suites() -> Vec<String> {
    let every = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";
    let done = Command::new("openssl").args(["ciphers", "-s", "-tls1_2", every]).output().expect("openssl");
    let told = String::from_utf8(done.stdout).expect("text");
    told.trim().split(':').map(str::to_owned).collect()
}

/// Another certificate, with a key of the kind that the worst suites need.
fn rsa_certificate(world: &World) {
    let folder = world.folder();
    let (key, certificate) = (folder.join("new-key.pem"), folder.join("new-certificate.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::rename(key, folder.join("sip-key.pem")).expect("renamed");
    std::fs::rename(certificate, folder.join("sip-certificate.pem")).expect("renamed");
}

#[test]
fn s6_of_all_suites_and_versions_of_tls_only_those_with_forward_secrecy_and_authenticated_encryption_are_taken()
 {
    let world = World::start(&Setup::default());
    let at = world.layout.sips.clone();
    assert_eq!(handshake(&at, &[]).map(|(version, _)| version).as_deref(), Some("TLSv1.3"));
    // Suites by the key of the certificate; the second one is taken up while the gateway runs.
    for kind in ["ECDSA", "RSA"] {
        if kind == "RSA" {
            rsa_certificate(&world);
            wait_for("the new certificate is taken up", PATIENCE, || {
                handshake(&at, &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"])
            });
        }
        for version in ["-tls1", "-tls1_1"] {
            let taken = handshake(&at, &[version, "-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]);
            assert_eq!(taken, None, "{version} with {kind}");
        }
        let all = suites();
        assert!(all.len() > 50, "openssl offers {} suites only", all.len());
        let mut taken: Vec<String> = all
            .iter()
            .filter(|suite| {
                let cipher = format!("{suite}:@SECLEVEL=0");
                handshake(&at, &["-tls1_2", "-cipher", &cipher]).is_some()
            })
            .cloned()
            .collect();
        taken.sort();
        let wanted = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"];
        assert_eq!(taken, wanted.map(|it| format!("ECDHE-{kind}-{it}")));
    }
}
