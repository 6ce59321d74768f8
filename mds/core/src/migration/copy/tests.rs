use common::id::{DirFragId, Ino};
use common::limit::{BULK_FRAME_BYTES_MAX, XATTR_VALUE_BYTES_MAX};
use common::wire::encoded_bytes;
use common::wire::reply::Outcome;
use common::wire::request::{Op, RenameMode, Target, XattrName, XattrSet, XattrValue};
use common::wire::session::Notice;

use super::super::fixture::{E, Half, I, Neighbor, Story};
use crate::cluster_fixture::D1;
use crate::fixture::{A, in_entry, name, rename_op};
use crate::message::migration::Step;
use crate::row::Key;

const FILES: usize = 40;

/// Goes on to the end. The bytes of the longest message to the importer, and how many `Rows` there were.
fn run_and_measure(story: &mut Story) -> (usize, usize) {
    let (mut longest, mut rows) = (0, 0);
    loop {
        for step in story.steps_to(I) {
            longest = longest.max(encoded_bytes(&step));
            rows += usize::from(matches!(step, Step::Rows { .. }));
        }
        if !story.cluster.step() {
            story.rest();
            return (longest, rows);
        }
    }
}

/// Three values of the greatest size on each file.
fn fill_xattrs(story: &mut Story, files: &[(Ino, String)]) {
    for (ino, text) in files {
        for number in 0..3 {
            let op = Op::SetXattr {
                target: in_entry(*ino, story.dir, text),
                name: XattrName(format!("user.{number}").into_bytes().into()),
                value: XattrValue(vec![7; XATTR_VALUE_BYTES_MAX].into()),
                mode: XattrSet::Any,
            };
            story.cluster.at(E).ask(A, op);
        }
    }
}

fn with_files() -> (Story, Vec<(Ino, String)>) {
    let mut story = Story::before(Neighbor::Stranger);
    let dir = story.dir;
    let names = (0..FILES).map(|number| format!("f{number}"));
    let files = names.map(|text| (story.cluster.at(E).create(A, dir, &text), text)).collect();
    (story, files)
}

#[test]
fn what_is_copied_live_fits_its_frames() {
    let (mut story, files) = with_files();
    fill_xattrs(&mut story, &files);
    story.order();
    let (longest, rows) = run_and_measure(&mut story);
    assert!(longest < BULK_FRAME_BYTES_MAX, "{longest}");
    assert!(rows > 10, "{rows} messages");
    story.assert_owner(I);
}

/// Few rows are left to be sent frozen, and they are long.
#[test]
fn what_is_sent_frozen_fits_its_frames() {
    let (mut story, files) = with_files();
    story.order();
    story.run_until(Half::Exporter, "Copying");
    fill_xattrs(&mut story, &files);
    let (longest, _) = run_and_measure(&mut story);
    assert!(longest < BULK_FRAME_BYTES_MAX, "{longest}");
    assert_eq!(story.record().rounds, 1, "all of it was left");
    story.assert_owner(I);
    let (last, text) = files.last().unwrap();
    let target = in_entry(*last, story.dir, text);
    let get = Op::GetXattr { target, name: XattrName(b"user.2"[..].into()) };
    let outcome = story.cluster.ask(I, A, get);
    assert!(
        matches!(outcome, Outcome::Done(_)),
        "the importer has what was sent ahead of the delta"
    );
}

#[test]
fn pins_come_along_with_what_they_are_on() {
    let (mut story, files) = with_files();
    story.order();
    story.rest();
    for (ino, text) in &files {
        let holders = |rank| {
            story.cluster.ranks[&rank]
                .mds
                .holdings()
                .pins
                .holders(*ino)
                .map(|(client, _)| client)
                .collect()
        };
        let (at_e, at_i): (Vec<_>, Vec<_>) = (holders(E), holders(I));
        assert_eq!((at_e, at_i), (vec![], vec![A]), "{text}");
    }
}

/// It may have been lost with its connection to the exporter: the client would never give it back.
#[test]
fn a_client_is_asked_about_a_pin_by_an_answer_that_it_may_not_have_had() {
    let (mut story, files) = with_files();
    story.order();
    story.rest();
    let told = story.cluster.notices.iter().filter_map(|(by, to, notice)| match notice {
        Notice::Pinned { inos } if (*by, *to) == (I, A) => Some(inos.clone()),
        Notice::Pinned { .. }
        | Notice::Moved { .. }
        | Notice::Unlinked { .. }
        | Notice::Expect { .. }
        | Notice::Changed { .. }
        | Notice::ChangedAtHome { .. }
        | Notice::Recall { .. } => None,
    });
    let told: Vec<(Ino, Ino)> = told.flatten().collect();
    let (last, _) = files.last().expect("there are some");
    assert!(told.iter().any(|(ino, _)| ino == last), "{told:?}");
}

/// Its pins were sent, and it is not given away after all.
#[test]
fn pins_of_a_directory_that_leaves_the_region_stay_behind() {
    let mut story = Story::before(Neighbor::Stranger);
    let dir = story.dir;
    let sub = story.cluster.at(E).mkdir(A, dir, "sub");
    let file = story.cluster.at(E).create(A, sub, "f");
    story.order();
    story.run_until(Half::Importer, "Copying");
    let op = rename_op((dir, "sub"), (D1, "sub"), RenameMode::Replace);
    story.cluster.ask(E, A, op);
    story.rest();
    story.assert_owner(I);
    let holders = |rank| {
        story.cluster.ranks[&rank]
            .mds
            .holdings()
            .pins
            .holders(file)
            .map(|(client, _)| client)
            .collect()
    };
    let (at_e, at_i): (Vec<_>, Vec<_>) = (holders(E), holders(I));
    assert_eq!((at_e, at_i), (vec![A], vec![]));
    assert_eq!(story.cluster.lookup(E, sub, "f").map(|(ino, _)| ino), Some(file));
}

/// Somebody asked the importer for it meanwhile, who found it among what was copied.
#[test]
fn a_directory_that_is_removed_after_it_was_copied_is_none_at_the_importer() {
    let mut story = Story::before(Neighbor::Stranger);
    let dir = story.dir;
    let sub = story.cluster.at(E).mkdir(A, dir, "sub");
    story.order();
    story.run_until(Half::Importer, "Copying");
    let row = Key::Dir(DirFragId::whole(sub));
    while story.cluster.at(I).row(&row).is_none() {
        assert!(story.cluster.step());
    }
    let getattr = Op::Getattr { target: Target::dir(sub) };
    let id = story.cluster.send(I, A, getattr.clone()).id;
    assert_eq!(story.cluster.reply(I, A, id), Some(Outcome::Gone { ino: sub }));
    story.cluster.send(E, A, Op::Rmdir { dir, name: name("sub") });
    story.rest();
    story.assert_owner(I);
    assert_eq!(story.cluster.ask(I, A, getattr), Outcome::Gone { ino: sub });
}

/// Another one is removed while the way up from it is not cached: nobody may take it for something that has
/// left the region (found by `unmade.rs`; the directory was not at the importer, and nobody's any more).
#[test]
fn a_directory_that_is_not_cached_has_not_left_the_region() {
    cov_mark::check!(what_left_the_region_is_looked_for);
    let mut story = Story::before(Neighbor::Stranger);
    let dir = story.dir;
    let [goes, stays] = ["goes", "stays"].map(|text| story.cluster.at(E).mkdir(A, dir, text));
    let file = story.cluster.at(E).create(A, stays, "f");
    story.order();
    story.run_until(Half::Importer, "Copying");
    while story.cluster.at(I).row(&Key::Dir(DirFragId::whole(goes))).is_none() {
        assert!(story.cluster.step());
    }
    story.cluster.at(E).mds.uncache_for_test(stays);
    story.cluster.send(E, A, Op::Rmdir { dir, name: name("goes") });
    story.rest();
    story.assert_owner(I);
    assert_eq!(story.cluster.lookup(I, stays, "f").map(|(ino, _)| ino), Some(file));
    assert_eq!(story.cluster.lookup(I, dir, "goes"), None);
}
