//! What one party makes of one event, computed once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use common::id::{DirFragId, Incarnation, Rank};
use common::wire::admin::AdminRequest;
use mds_core::Input;
use mds_core::input::AdminId;
use mds_core::journal::entry::Entry;
use mds_core::timer::Timer;

use super::{Envelope, Id, Key, Model, Stepped};
use crate::explore::client::{self, CLIENT, Life};
use crate::explore::property::{self, Violation};
use crate::explore::rank::{Lane, Letter, Local, Out, RankNode};
use crate::explore::state::Party;
use crate::explore::world::World;

impl Model {
    pub(super) fn step(&mut self, before: Id, key: Key) -> Result<Rc<Stepped>, Violation> {
        if let Some(known) = self.steps.get(&(before, key)) {
            return Ok(Rc::clone(known));
        }
        let local = self.local(before, key);
        let mut node = self.nodes.at(before).clone();
        let slow_store = self.world.slow_store;
        let mut log = Vec::new();
        let step = AssertUnwindSafe(|| node.step(local, slow_store, &mut log));
        let outs = catch_unwind(step).map_err(|payload| Violation::panicked(payload.as_ref()))?;
        let exported = newly_exported(&self.world, self.nodes.at(before), &node);
        let (rank, life) = (node.rank, node.incarnation);
        let node = self.keep_node(node);
        let mut sent = Vec::new();
        for out in outs {
            match out {
                Out::Send { msg, .. } if !self.world.heeds(&msg) => {}
                Out::Send { to, life: to_life, lane, msg } => {
                    let (from, letter) = (Party::Rank(rank), Letter::Peer(msg));
                    let envelope = Envelope { from, from_life: life, to_life, letter };
                    sent.push((Party::Rank(to), lane, self.envelopes.keep(envelope)));
                }
                Out::Tell(_) if self.world.client.is_none() => {}
                Out::Tell(letter) => {
                    let (from, to_life) = (Party::Rank(rank), Incarnation(0));
                    let envelope = Envelope { from, from_life: life, to_life, letter };
                    sent.push((Party::Client, Lane::Ordered, self.envelopes.keep(envelope)));
                }
            }
        }
        let stepped = Rc::new(Stepped { node, sent, exported, log });
        self.steps.insert((before, key), Rc::clone(&stepped));
        Ok(stepped)
    }

    pub(super) fn step_client(&mut self, before: Id, key: Key) -> Result<Rc<Stepped>, Violation> {
        if let Some(known) = self.client_steps.get(&(before, key)) {
            return Ok(Rc::clone(known));
        }
        let local = self.local_to_client(key);
        let mut node = self.clients.at(before).clone();
        let step = AssertUnwindSafe(|| node.step(local));
        let outs = catch_unwind(step).map_err(|payload| Violation::panicked(payload.as_ref()))?;
        let sent = outs.into_iter().map(|client::Out { to, letter }| {
            let (from, from_life, to_life) = (Party::Client, Incarnation(0), to.incarnation);
            let envelope = Envelope { from, from_life, to_life, letter };
            (Party::Rank(to.rank), Lane::Ordered, self.envelopes.keep(envelope))
        });
        let sent = sent.collect();
        let node = self.clients.keep(node);
        let stepped = Rc::new(Stepped { node, sent, exported: None, log: Vec::new() });
        self.client_steps.insert((before, key), Rc::clone(&stepped));
        Ok(stepped)
    }

    fn local_to_client(&self, key: Key) -> client::Local {
        match key {
            Key::Message(id) => {
                let Envelope { from, from_life, letter, .. } = self.envelopes.at(id).clone();
                let Party::Rank(rank) = from else { unreachable!("it does not write to itself") };
                client::Local::Letter(Life { rank, incarnation: from_life }, letter)
            }
            Key::Map(id) => client::Local::Map(Box::new(self.maps.at(id).clone())),
            Key::Call(number) => {
                let script = self.world.client.as_ref().expect("there is a client");
                client::Local::Call(Box::new(script.calls[usize::from(number)].call.clone()))
            }
            Key::Connect(made) => client::Local::Connect(made),
            Key::ClientTimer(timer) => client::Local::Timer(timer),
            Key::Timer(_)
            | Key::Sync
            | Key::Fetched(_)
            | Key::Order(_)
            | Key::Cancel
            | Key::Die(_)
            | Key::Start(_) => unreachable!("happens to ranks"),
        }
    }

    fn local(&self, node: Id, key: Key) -> Local {
        let node = self.nodes.at(node);
        match key {
            Key::Message(id) => {
                let Envelope { from, from_life, letter, .. } = self.envelopes.at(id).clone();
                Local::Input(Box::new(heard(from, from_life, letter)))
            }
            Key::Call(_) | Key::Connect(_) | Key::ClientTimer(_) => {
                unreachable!("happens to the client")
            }
            Key::Map(id) => Local::Input(Box::new(Input::Map(self.maps.at(id).clone()))),
            Key::Timer(timer) => Local::Input(Box::new(Input::Timer(timer))),
            Key::Sync => Local::Sync,
            Key::Fetched(number) => Local::Fetched(usize::from(number)),
            Key::Order(number) => {
                let order = self.world.orders[usize::from(number)];
                let request = AdminRequest::Export { dir: order.dir, to: order.to };
                Local::Input(Box::new(Input::Admin { id: AdminId(u64::from(number)), request }))
            }
            Key::Cancel => {
                let process = node.process.as_ref().expect("only the living are asked");
                let mut exports = process.timers.iter().filter_map(|timer| match timer {
                    Timer::Exporter(id) => Some(*id),
                    _ => None,
                });
                let id = exports.next().expect("it is looked for where there is one");
                let request = AdminRequest::CancelMigration { id };
                Local::Input(Box::new(Input::Admin { id: AdminId(100), request }))
            }
            Key::Die(kept) => Local::Die { kept: usize::from(kept) },
            Key::Start(map) => {
                let map = self.maps.at(map).clone();
                let life = map.ranks[&node.rank].incarnation;
                Local::Start(Box::new((self.world.params(node, life, &map), map)))
            }
        }
    }

    pub(super) fn keep_node(&mut self, node: RankNode) -> Id {
        let id = self.nodes.keep(node);
        if id.index() == self.views.len() {
            self.views.push(property::view(self.nodes.at(id), &self.world));
        }
        id
    }
}

/// What a rank makes of a message.
fn heard(from: Party, incarnation: Incarnation, letter: Letter) -> Input {
    match (from, letter) {
        (Party::Rank(from), Letter::Peer(msg)) => Input::Peer { from, incarnation, msg },
        (_, Letter::ToMds(conn, msg)) => Input::Client { conn, client: CLIENT, msg },
        (_, Letter::Gone(conn)) => Input::ClientGone { conn, client: CLIENT },
        (from, letter) => unreachable!("{from} says {letter:?} to a rank"),
    }
}

/// The moment the exporter's fact survives everything, the importer is the authority (**E1**).
fn newly_exported(world: &World, before: &RankNode, after: &RankNode) -> Option<Rank> {
    let base = DirFragId::whole(world.region);
    let exports = |node: &RankNode| {
        let entries = node.disk.durable_journal().filter_map(|entry| match entry {
            Entry::Export { id, base: of, to, .. } if *of == base => Some((*id, *to)),
            _ => None,
        });
        entries.collect::<Vec<_>>()
    };
    let known = exports(before);
    exports(after).into_iter().rev().find(|export| !known.contains(export)).map(|(_, to)| to)
}
