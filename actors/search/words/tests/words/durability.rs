//! Restarts, damage and kills.

use std::fs;
use std::path::Path;

use words::{FORMAT, Writer};

use crate::shop::{MEMORY_BYTES, Shop, product};

fn filled() -> Shop {
    Shop::of(&["Instant camera", "Camera bag", "靴下"])
}

/// Opens the folder of a shop again.
fn reopened(shop: Shop, harm: impl FnOnce(&Path)) -> Shop {
    let Shop { dir, writer, slots, offset } = shop;
    drop(writer);
    harm(dir.path());
    let writer = Writer::open(dir.path(), MEMORY_BYTES).expect("opens");
    Shop { dir, writer, slots, offset }
}

#[test]
fn a_restart_goes_on_where_the_last_commit_ended() {
    let mut shop = reopened(filled(), |_| ());
    assert_eq!(shop.writer.committed(), Some(1));
    assert_eq!(shop.ids("camera"), ["p000", "p001"]);
    shop.put(&product("p003", "Sandale"));
    shop.commit();
    let mut shop = reopened(shop, |_| ());
    assert_eq!((shop.writer.committed(), shop.ids("sandale")), (Some(2), vec!["p003".to_owned()]));
}

#[test]
fn what_was_not_committed_when_it_was_killed_never_was() {
    let mut shop = filled();
    shop.put(&product("p000", "Polaroid"));
    shop.writer.delete("p001");
    shop.put(&product("p003", "Sandale"));
    let mut shop = reopened(shop, |_| ());
    assert_eq!(shop.writer.committed(), Some(1));
    assert_eq!(shop.ids("camera"), ["p000", "p001"]);
    // The same changes again, and again after a kill behind the commit: each counts once.
    for _ in 0..2 {
        shop.put(&product("p000", "Polaroid"));
        shop.writer.delete("p001");
        shop.put(&product("p003", "Sandale"));
        shop.offset = 6;
        shop.commit();
        shop = reopened(shop, |_| ());
        assert_eq!(shop.writer.committed(), Some(7));
        assert_eq!((shop.ids("camera"), shop.ids("polaroid"), shop.ids("sandale")), (vec![], vec!["p000".into()], vec!["p003".into()]));
        assert_eq!(shop.snapshot().products(), 3);
    }
}

#[test]
fn a_damaged_or_foreign_index_is_made_anew() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 5] = [
        ("folder deleted", |dir| fs::remove_dir_all(dir).expect("deleted")),
        ("meta file cut", |dir| fs::write(dir.join("meta.json"), "{").expect("written")),
        ("meta file of another schema", |dir| {
            let path = dir.join("meta.json");
            let meta = fs::read_to_string(&path).expect("read").replace("\"sequences\"", "\"sequence\"");
            fs::write(path, meta).expect("written");
        }),
        ("files damaged", |dir| {
            let files = fs::read_dir(dir).expect("read").map(|entry| entry.expect("an entry").path());
            let damaged = files.filter(|path| path.extension().is_some_and(|ending| ending == "term" || ending == "idx"));
            let count = damaged
                .map(|path| {
                    let mut bytes = fs::read(&path).expect("read");
                    bytes.iter_mut().take(40).for_each(|byte| *byte = !*byte);
                    fs::write(&path, bytes).expect("written");
                })
                .count();
            assert!(count > 0);
        }),
        ("words of another format", |dir| {
            let path = dir.join("meta.json");
            let meta = fs::read_to_string(&path).expect("read").replace(&format!("\"payload\": \"{FORMAT} "), "\"payload\": \"0 ");
            assert!(meta.contains("\"payload\": \"0 "), "{meta}");
            fs::write(path, meta).expect("written");
        }),
    ];
    for (name, harm) in harms {
        let mut shop = reopened(filled(), harm);
        assert_eq!((shop.writer.committed(), shop.snapshot().products()), (None, 0), "{name}");
        shop.put(&product("p001", "Camera bag"));
        shop.commit();
        assert_eq!(shop.ids("camera"), ["p001"], "{name}: and nothing of before is left");
        assert_eq!(shop.snapshot().products(), 1, "{name}");
    }
}

#[test]
fn an_index_that_is_open_already_is_an_error_and_stays_whole() {
    let mut shop = filled();
    assert!(Writer::open(shop.dir.path(), MEMORY_BYTES).is_err());
    assert_eq!(shop.ids("camera"), ["p000", "p001"]);
}

#[test]
fn a_snapshot_stays_as_it_is() {
    let mut shop = filled();
    let before = shop.snapshot();
    shop.writer.clear().expect("cleared");
    shop.commit();
    let request = words::Request { text: "camera", limit: 9, ..words::Request::default() };
    assert_eq!(before.search(&request).expect("found").total, 2);
    assert_eq!((shop.ids("camera").len(), shop.snapshot().products()), (0, 0));
}
