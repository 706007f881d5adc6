//! Real programs that nobody here wrote around the real gateway: baresip as the phone, SIPp as the trunk, aiortc as
//! WhatsApp's WebRTC side, Prometheus on the figures. `scripts/interop` installs them and runs this.

mod api;
mod api_with_schemathesis;
mod asking_with_baresip;
mod attended;
mod browser_phone;
mod crash_and_drain;
mod dead_phones;
mod desk_codes;
mod desks;
mod doctor;
mod encrypted_phones;
mod features;
mod figures_with_prometheus;
mod hours_and_missed_calls;
mod lamps;
mod matrix;
mod named_trunk;
mod nat;
mod overload;
mod phones_over_streams;
mod phones_with_baresip;
mod recording;
mod refusals;
mod rig;
mod ring_plans;
mod rules_at_random;
mod scanners_with_sipvicious;
mod tls_with_openssl;
mod torture;
mod transfers;
mod trunk_kamailio;
mod trunk_servers_with_sipp;
mod trunk_with_sipp;
mod voicemail;
mod whatsapp_with_aiortc;
