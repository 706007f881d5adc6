//! The rig: real programs around the real gateway, each test with its own folder, ports and processes.

pub(crate) mod baresip;
pub(crate) mod browser;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod kamailio;
pub(crate) mod office;
pub(crate) mod ports;
pub(crate) mod program;
pub(crate) mod simulator;
pub(crate) mod sip;
pub(crate) mod sipp;
pub(crate) mod sound;

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use baresip::{OnRing, Phone, PhoneSettings};
use gateway::{Gateway, Layout, PASSWORD, Setup};
use ports::Ports;
use simulator::Simulator;

/// A WhatsApp user.
pub(crate) const USER: &str = "5521955500123";

/// Meta's stand-in and a gateway that talk to each other; phones and trunks come on top.
pub(crate) struct World {
    // Dropped in this order: who depends on others goes first.
    pub(crate) gateway: Gateway,
    pub(crate) meta: Simulator,
    pub(crate) layout: Layout,
    pub(crate) ports: Ports,
    folder: TempDir,
}

impl World {
    /// Starts both.
    pub(crate) fn start(setup: &Setup) -> Self {
        Self::start_at("127.0.0.1", setup)
    }

    /// The same with SIP, and the media of phones, at another address of this machine.
    pub(crate) fn start_at(office: &str, setup: &Setup) -> Self {
        let folder =
            tempfile::Builder::new().prefix("cordboard-interop-").tempdir().expect("a temporary folder");
        let mut ports = Ports::lease();
        let layout = Layout::new(office, folder.path(), &mut ports);
        let start = if setup.aiortc { Simulator::start_aiortc } else { Simulator::start };
        let meta = start(folder.path(), &layout.webhook_url());
        layout.write_config(&meta.at, setup);
        let gateway = Gateway::start(&layout);
        Self { gateway, meta, layout, ports, folder }
    }

    /// The folder of this test.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A registered phone 1001.
    pub(crate) fn phone(&mut self, on_ring: OnRing) -> Phone {
        self.phone_with(on_ring, "PCMU", PASSWORD).registered()
    }

    /// A phone 1001 that has just begun to register.
    pub(crate) fn phone_with(&mut self, on_ring: OnRing, codec: &str, password: &str) -> Phone {
        self.start_phone(on_ring, codec, password, "udp", "")
    }

    /// A registered phone 1002 with a voice of its own.
    pub(crate) fn other_phone(&mut self, on_ring: OnRing, codec: &str) -> Phone {
        let (registrar, transport, hz) = (self.layout.sip.as_str(), "udp", sound::OTHER_HZ);
        let settings = PhoneSettings {
            name: "1002",
            password: PASSWORD,
            registrar,
            transport,
            on_ring,
            codec,
            hz,
            encryption: "",
        };
        Phone::start(self.folder.path(), &mut self.ports, &settings).registered()
    }

    /// A registered phone 1001 over `udp`, `tcp` or `tls`.
    pub(crate) fn phone_over(&mut self, transport: &str, on_ring: OnRing) -> Phone {
        self.start_phone(on_ring, "PCMU", PASSWORD, transport, "").registered()
    }

    /// The same with encrypted sound: `srtp` or `srtp-mand`.
    pub(crate) fn encrypted_phone(&mut self, transport: &str, on_ring: OnRing, encryption: &str) -> Phone {
        self.start_phone(on_ring, "PCMU", PASSWORD, transport, encryption).registered()
    }

    pub(crate) fn start_phone(
        &mut self,
        on_ring: OnRing,
        codec: &str,
        password: &str,
        transport: &str,
        encryption: &str,
    ) -> Phone {
        let registrar = self.registrar(transport).to_owned();
        let hz = sound::PHONE_HZ;
        let settings = PhoneSettings {
            name: "1001",
            password,
            registrar: &registrar,
            transport,
            on_ring,
            codec,
            hz,
            encryption,
        };
        Phone::start(self.folder.path(), &mut self.ports, &settings)
    }

    /// Where the gateway listens.
    pub(crate) fn registrar(&self, transport: &str) -> &str {
        if transport == "tls" { &self.layout.sips } else { &self.layout.sip }
    }

    /// What a phone dials to reach a user.
    pub(crate) fn uri_of(&self, digits: &str) -> String {
        format!("sip:{digits}@{}", self.layout.sip)
    }

    /// The closed record of a call.
    pub(crate) fn closed_record(&self, wa_call: &str) -> Value {
        gateway::closed_record(&self.layout, wa_call)
    }

    /// Fails if the gateway broke a rule of Meta's.
    pub(crate) fn assert_no_violations(&self) {
        let mut violations = self.meta.violations();
        // A machine with more programs than processors leaves gaps of its own. Ours are judged on the virtual
        // clock and, on a real one, by the demo and the load tool.
        violations.retain(|told| !told.to_string().contains("RTP: no packet for"));
        assert!(violations.is_empty(), "Meta's rules were broken: {violations:#?}");
    }
}

/// Fails unless a record says so of its call.
pub(crate) fn assert_record(record: &Value, direction: &str, answered: bool, fault: &str) {
    assert_eq!(record["direction"], direction, "{record:#}");
    assert_eq!(!record["answered"].is_null(), answered, "answered: {record:#}");
    assert_eq!(record["fault"], fault, "{record:#}");
    assert!(record["cause"].as_str().is_some_and(|cause| !cause.is_empty()), "{record:#}");
}
