//! Where phones are registered.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::*;
use crate::sip::{Flow, SavedBinding};

fn local() -> SocketAddr {
    "[2001:db8::1]:5060".parse().expect("an address")
}

fn binding(phone: &str, port: u16, expires: i64) -> SavedBinding {
    SavedBinding {
        phone: phone.into(),
        contact: format!("sip:{phone}@10.0.0.5:{port};transport=udp"),
        flow: Flow::udp(local(), ([203, 0, 113, 7], port).into()),
        expires: Wall(expires),
        user_agent: Some("desk phone".to_owned()),
        call_id: "a@b".to_owned(),
        cseq: u32::MAX,
        instance: None,
        reg_id: None,
        path: Vec::new(),
        q: 1000,
        proof: u16::MAX,
    }
}

fn of_phones(bindings: &[SavedBinding]) -> BTreeMap<crate::id::PhoneName, Vec<SavedBinding>> {
    let mut phones = BTreeMap::<_, Vec<_>>::new();
    for binding in bindings {
        phones.entry(binding.phone.clone()).or_default().push(binding.clone());
    }
    phones
}

#[tokio::test]
async fn registrations_come_back_after_a_restart_as_they_were_and_in_their_order() {
    let (directory, store) = fresh().await;
    let named = SavedBinding { instance: Some("<urn:uuid:1>".to_owned()), q: 7, ..binding("1001", 2, 9) };
    let path = vec!["<sip:192.0.2.9;lr;ob>".to_owned(), "<sip:[2001:db8::7];lr>".to_owned()];
    let named = SavedBinding { reg_id: Some(2), path, ..named };
    let kept = [binding("1001", 3, 9), named, binding("1002", 1, 9)];
    store.save_bindings(vec![local()], of_phones(&kept)).await.expect("kept");
    store.close().await;
    let store = open(&directory).await;
    assert_eq!(store.bindings(local(), Wall(8)).await.expect("read"), kept);
}

#[tokio::test]
async fn what_a_phone_has_now_takes_the_place_of_what_it_had_and_no_others() {
    let (_directory, store) = fresh().await;
    let others = binding("1002", 1, 9);
    let kept = [binding("1001", 1, 9), binding("1001", 2, 9), others.clone()];
    store.save_bindings(vec![local()], of_phones(&kept)).await.expect("kept");
    let moved = binding("1001", 3, 9);
    store.save_bindings(vec![local()], of_phones(std::slice::from_ref(&moved))).await.expect("kept");
    assert_eq!(store.bindings(local(), Wall(0)).await.expect("read"), [others.clone(), moved]);
    store.save_bindings(vec![local()], BTreeMap::from([("1001".into(), vec![])])).await.expect("kept");
    assert_eq!(store.bindings(local(), Wall(0)).await.expect("read"), [others]);
}

#[tokio::test]
async fn an_ended_registration_is_not_read_and_then_forgotten() {
    let (_directory, store) = fresh().await;
    let kept = [binding("1001", 1, 1000), binding("1002", 1, 1001)];
    store.save_bindings(vec![local()], of_phones(&kept)).await.expect("kept");
    assert_eq!(store.bindings(local(), Wall(1000)).await.expect("read"), kept[1..]);
    store.forget_bindings(Wall(1000)).await.expect("forgotten");
    assert_eq!(store.bindings(local(), Wall(0)).await.expect("read"), kept[1..]);
}

#[tokio::test]
async fn two_gateways_at_one_file_keep_their_phones_apart() {
    let (_directory, store) = fresh().await;
    let other: SocketAddr = ([192, 0, 2, 1], 5060).into();
    let ours = [binding("1001", 1, 9)];
    store.save_bindings(vec![local()], of_phones(&ours)).await.expect("kept");
    store.save_bindings(vec![other], BTreeMap::from([("1001".into(), vec![])])).await.expect("kept");
    assert_eq!(store.bindings(local(), Wall(0)).await.expect("read"), ours);
    assert_eq!(store.bindings(other, Wall(0)).await.expect("read"), []);
}

#[tokio::test]
async fn a_registration_that_cannot_be_read_costs_nobody_elses() {
    let (directory, store) = fresh().await;
    let kept = [binding("1001", 1, 9), binding("1002", 1, 9)];
    store.save_bindings(vec![local()], of_phones(&kept)).await.expect("kept");
    store.close().await;
    let options = SqliteConnectOptions::new().filename(directory.path().join("test.db"));
    let mut other = options.connect().await.expect("connected");
    sqlx::query("UPDATE binding SET remote = 'over there' WHERE phone = '1001'")
        .execute(&mut other)
        .await
        .expect("damaged");
    let store = open(&directory).await;
    assert_eq!(store.bindings(local(), Wall(0)).await.expect("read"), kept[1..]);
}
