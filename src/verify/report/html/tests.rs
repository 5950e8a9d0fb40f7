use std::fs;

use serde_json::Value;

use super::*;
use crate::{
    keyspace::Db,
    verify::{
        Counts, First, Place, Reason,
        report::{RepairAction, tests as all},
    },
};

fn page(caps: Caps, fill: impl FnOnce(&mut Html, &mut Counts)) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.html");
    let mut html = Html::with_caps(&path, &all::head(), false, caps).unwrap();
    let mut counts = Counts::default();
    fill(&mut html, &mut counts);
    let undecided = html.found.undecided_total;
    let mut summary = all::summary(counts);
    summary.undecided.insert(Reason::Changing.name(), undecided);
    Box::new(html).finish(&summary).unwrap();
    fs::read_to_string(&path).unwrap()
}

/// What the script reads.
fn data(page: &str) -> Value {
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn the_page_needs_nothing_from_outside() {
    assert_eq!(PAGE.matches("{{data}}").count(), 1);
    for outside in [
        "http:",
        "https:",
        "src=",
        "@import",
        "url(",
        "innerHTML",
        "insertAdjacent",
        "eval(",
        "document.write",
    ] {
        assert!(!PAGE.contains(outside), "{outside}");
    }
}

#[test]
fn nothing_hostile_becomes_markup() {
    let keys = all::hostile();
    let page = page(Caps::default(), |html, counts| {
        for key in &keys {
            let of_key = [all::difference(key, Kind::Value)];
            counts.add(&of_key);
            html.differences(&of_key).unwrap();
            html.undecided(&Undecided {
                db: Db(1),
                key: key.clone(),
                reason: Reason::Changing,
                detail: Some(String::from_utf8_lossy(key).into_owned()),
            })
            .unwrap();
            html.repaired(&Repaired {
                db: Db(1),
                key: key.clone(),
                action: RepairAction::Skipped(String::from_utf8_lossy(key).into_owned()),
            })
            .unwrap();
        }
    });
    // Those of the page itself.
    for (tag, count) in [("<script", 2), ("</script", 2), ("<img", 0), ("<!--", 0)] {
        assert_eq!(page.matches(tag).count(), count, "{tag}");
    }
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"));
    assert!(page.contains("--key &#39;&lt;user&gt;:*&#39;"));
    // A key that looks like a place of the page stays a key.
    assert!(page.contains("{{data}}"));
    let data = data(&page);
    let rows = data["rows"].as_array().unwrap();
    assert_eq!(rows.len(), keys.len());
    for (row, key) in rows.iter().zip(&keys) {
        let slot = Slot::of(key).0;
        assert_eq!(row[0], slot / 64);
        assert_eq!(row[1], slot);
        assert_eq!(row[3], key_text(key));
        assert_eq!(row[14], key.escape_ascii().to_string());
        assert_eq!(row[15], Value::Null);
    }
    assert_eq!(
        rows[10][3].as_str().unwrap().len(),
        512 + 2 + "... (5000 bytes)".len()
    );
}

#[test]
fn what_is_left_out_is_said_and_counted() {
    let key = |n: u32| Bytes::from(format!("key:{n}"));
    let fill = |html: &mut Html, counts: &mut Counts| {
        for n in 0..1000 {
            let of_key = [Kind::Value, Kind::Expiry].map(|kind| all::difference(&key(n), kind));
            counts.add(&of_key);
            html.differences(&of_key).unwrap();
        }
        let library = Difference {
            source: Held::default(),
            ..all::difference(&Bytes::from_static(b"lib"), Kind::Function)
        };
        counts.add(std::slice::from_ref(&library));
        html.differences(&[library]).unwrap();
        for n in 0..300 {
            html.undecided(&Undecided {
                db: Db(0),
                key: key(n),
                reason: Reason::Changing,
                detail: None,
            })
            .unwrap();
        }
    };
    let all = Caps::default();
    for (name, caps, embedded) in [
        ("everything", all, 2001),
        ("by number", Caps { rows: 7, ..all }, 7),
        ("by bytes", Caps { bytes: 1000, ..all }, 8),
        ("nothing", Caps { bytes: 1, ..all }, 0),
    ] {
        let page = page(caps, fill);
        let data = data(&page);
        let rows = data["rows"].as_array().unwrap();
        assert_eq!(rows.len(), embedded, "{name}");
        for (n, row) in rows.iter().take(2000).enumerate() {
            let expected = ["value", "expiry"][n % 2];
            assert_eq!(row[4], expected, "{name}");
            assert_eq!(row[3], key_text(&key(n as u32 / 2)), "{name}");
        }
        let said = format!("This page has the first {embedded} of 2,001 differences.");
        assert_eq!(page.contains(&said), embedded < 2001, "{name}");
        assert!(page.contains("The first 200 of 300:"), "{name}");
        assert!(page.contains("2,001 differences in 1,001 keys, 300 keys undecided"));
        assert_eq!(
            (&data["total"], &data["functions"]),
            (&2001.into(), &1.into())
        );

        let mut cells = vec![0; CELLS];
        (0..1000).for_each(|n| cells[cell_of(Slot::of(&key(n)))] += 2);
        assert_eq!(data["cells"], serde_json::json!(cells), "{name}");
        let bad = cells.iter().filter(|count| **count > 0).count();
        assert_eq!(page.matches("class=\"cell bad\"").count(), bad, "{name}");
    }
}

#[test]
fn cells_say_what_they_hold() {
    let key = Bytes::from_static(b"foo");
    let empty = page(Caps::default(), |_, _| {});
    assert_eq!(empty.matches("class=\"cell\"").count(), CELLS);
    assert!(empty.contains("aria-label=\"slots 16320 to 16383: 0 differences\""));
    assert!(!empty.contains("{{"));
    assert_eq!(data(&empty)["rows"], serde_json::json!([]));

    let page = page(Caps::default(), |html, counts| {
        let difference = Difference {
            first: Some(First {
                place: Place::Index(5),
                source: Some(Bytes::new()),
                target: None,
            }),
            ..all::difference(&key, Kind::Value)
        };
        counts.add(std::slice::from_ref(&difference));
        html.differences(&[difference]).unwrap();
        for key in [&key, &Bytes::from_static(b"123456789")] {
            html.undecided(&Undecided {
                db: Db(0),
                key: key.clone(),
                reason: Reason::Changing,
                detail: None,
            })
            .unwrap();
        }
    });
    // `foo` is in slot 12182, `123456789` in 12739.
    assert!(page.contains("aria-label=\"slots 12160 to 12223: 1 difference, 1 key undecided\""));
    assert!(page.contains(
        "<button type=\"button\" class=\"cell open\" \
         aria-label=\"slots 12736 to 12799: 0 differences, 1 key undecided\""
    ));
    let data = data(&page);
    assert_eq!(data["rows"][0][13], "index 5");
    assert_eq!(data["rows"][0][14], "");
    assert_eq!(data["rows"][0][15], Value::Null);
}
