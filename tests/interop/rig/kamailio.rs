//! Kamailio as the PBX behind the trunk `pbx`: a registrar for its own phones, a proxy that stays in the path.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::World;
use super::baresip::{OnRing, Phone, PhoneSettings};
use super::gateway::TRUNK_PASSWORD;
use super::program::Program;
use super::sound;

/// The name in its certificate and in its users' addresses.
pub(crate) const DOMAIN: &str = "pbx.test";

/// How its own address, the trunk's, is spoken to.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tls {
    /// In clear.
    #[default]
    Off,
    /// Only Kamailio shows a certificate, as web servers do.
    OneSided,
    /// Who calls Kamailio shows one, too.
    Mutual,
}

/// How it is set up.
#[derive(Clone, Copy, Default)]
pub(crate) struct KamailioSettings {
    /// Who calls its phones proves to be `acme`, and so does who registers as that.
    pub(crate) login: bool,
    /// The gateway is where its registration says.
    pub(crate) registration: bool,
    /// Whether the trunk's address speaks TLS, and asks for a certificate of ours.
    pub(crate) tls: Tls,
    /// `udp`, `tcp` or `tls`: how it calls the gateway.
    pub(crate) to_gateway: &'static str,
}

/// A running Kamailio; it can be killed and started again.
pub(crate) struct Kamailio {
    program: Option<Program>,
    folder: PathBuf,
    /// Where its phones register.
    pub(crate) phones_at: String,
}

impl Kamailio {
    /// Starts it at the address of the trunk.
    pub(crate) fn start(world: &mut World, settings: KamailioSettings) -> Self {
        let folder = world.folder().join("kamailio");
        std::fs::create_dir_all(&folder).expect("the test's folder can be written");
        let (host, _) = world.layout.trunk.split_once(':').expect("an address with a port");
        let trunk = world.layout.trunk.clone();
        // With TLS the trunk's address is that listener; phones use another port then.
        let tls = settings.tls != Tls::Off;
        let plain = if tls { format!("{host}:{}", world.ports.take(1)) } else { trunk.clone() };
        let transport = settings.to_gateway;
        let gateway = format!("{};transport={transport}", world.registrar(transport));
        let tls_config = folder.join("tls.cfg");
        let mut text = include_str!("../kamailio/kamailio.cfg").to_owned();
        let flags = [("LOGIN", settings.login), ("REGISTRATION", settings.registration), ("TLS", tls)];
        let defines: String =
            flags.iter().filter(|(_, on)| *on).map(|(name, _)| format!("#!define WITH_{name}\n")).collect();
        text = text.replacen("#!KAMAILIO\n", &format!("#!KAMAILIO\n{defines}"), 1);
        for (name, value) in [
            ("udp:ADDRESS", format!("udp:{plain}")),
            ("tcp:ADDRESS", format!("tcp:{plain}")),
            ("tls:SECURE", format!("tls:{trunk}")),
            ("=HOST", format!("={host}")),
            ("@GATEWAY", format!("@{gateway}")),
            ("\"PASSWORD\"", format!("\"{TRUNK_PASSWORD}\"")),
            ("TLS_CONFIG", tls_config.display().to_string()),
        ] {
            text = text.replace(name, &value);
        }
        std::fs::write(folder.join("kamailio.cfg"), text).expect("the test's folder can be written");
        if tls {
            write_tls_config(world.folder(), &tls_config, settings.tls);
        }
        let mut it = Self { program: None, folder, phones_at: plain };
        it.restart();
        it
    }

    /// Starts it again.
    pub(crate) fn restart(&mut self) {
        let mut command = Command::new("kamailio");
        // Its children are in its group: the death of the first does not end them.
        command.process_group(0).current_dir(&self.folder).args([
            "-DD",
            "-E",
            "-f",
            "kamailio.cfg",
            "-w",
            ".",
        ]);
        // Little memory, and files of this test's own.
        command.args(["-m", "32", "-M", "4", "-Y", ".", "-P", "kamailio.pid"]);
        let mut program = Program::start("kamailio", &self.folder, &mut command);
        let at = self.phones_at.clone();
        program.wait_for("Kamailio answers", |_| super::sip::answers_options(&at).then_some(()));
        self.program = Some(program);
    }

    /// Ends it without a word, children included.
    pub(crate) fn kill(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill_group();
        }
    }

    /// A phone `200` that is registered with it.
    pub(crate) fn phone(&self, world: &mut World, on_ring: OnRing) -> Phone {
        let folder = world.folder().to_owned();
        let settings = PhoneSettings {
            name: "200",
            password: "any",
            registrar: &self.phones_at,
            transport: "udp",
            on_ring,
            codec: "PCMU",
            hz: sound::PHONE_HZ,
            encryption: "",
        };
        Phone::start(&folder, &mut world.ports, &settings).registered()
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An authority, the PBX's certificate for its name and the gateway's for itself.
pub(crate) fn write_certificates(folder: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).expect("the test's folder can be written");
    };
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::<String>::new()).expect("no names");
    // Names of their own: OpenSSL takes a certificate whose issuer is called like itself for self-signed.
    authority.distinguished_name.push(DnType::CommonName, "authority.test");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).expect("signed");
    let issuer = Issuer::new(authority, authority_key);
    for (name, host) in [("pbx", DOMAIN), ("gateway", "gateway.test")] {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, host);
        let made = params.signed_by(&key, &issuer).expect("signed");
        write(&format!("{name}-certificate.pem"), &made.pem());
        write(&format!("{name}-key.pem"), &key.serialize_pem());
    }
    write("authority.pem", &root.pem());
}

fn write_tls_config(folder: &Path, path: &Path, tls: Tls) {
    let own = std::fs::read_to_string(folder.join("sip-certificate.pem")).expect("the rig wrote it");
    let authority = std::fs::read_to_string(folder.join("authority.pem")).expect("the test wrote it");
    std::fs::write(folder.join("trusted.pem"), authority + &own).expect("the test's folder can be written");
    let folder = folder.display();
    let part = |name: &str, asks: bool, trusted: &str| {
        let asks = if asks { "yes" } else { "no" };
        format!(
            "[{name}:default]\nmethod = TLSv1.2+\nverify_certificate = {asks}\nrequire_certificate = {asks}\n\
             certificate = {folder}/pbx-certificate.pem\nprivate_key = {folder}/pbx-key.pem\n\
             ca_list = {folder}/{trusted}\n"
        )
    };
    let text = part("server", tls == Tls::Mutual, "authority.pem") + &part("client", true, "trusted.pem");
    std::fs::write(path, text).expect("the test's folder can be written");
}
