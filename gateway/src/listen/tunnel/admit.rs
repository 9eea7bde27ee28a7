//! How much one identity and one address may have at once, and when an address has to prove itself.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::super::counts::{Counts, Slot, network};
use crate::{config::TunnelLimits, identity::Identity, meter::Meter};

/// Who somebody is, whatever their token says besides.
pub(super) type Subject = (String, String);

/// The subject of an identity.
pub(super) fn subject(identity: &Identity) -> Subject {
    (identity.issuer.clone(), identity.subject.clone())
}

/// What becomes of one who knocks.
#[derive(Debug)]
pub(super) enum Knock {
    /// Come in.
    Enter(Entry),
    /// Prove that the address is yours, then knock again (RFC 9000, section 8.1.2).
    Prove,
    /// There is no room.
    Full,
}

/// A handshake under way, and the connection that comes of it.
#[derive(Debug)]
pub(super) struct Entry {
    handshake: Option<Slot<()>>,
    _address: Slot<IpAddr>,
}

impl Entry {
    /// The handshake is done.
    pub(super) fn entered(&mut self) {
        self.handshake = None;
    }
}

/// The counts of a listener.
#[derive(Debug)]
pub(super) struct Admission {
    limits: TunnelLimits,
    handshakes: Arc<Counts<()>>,
    addresses: Arc<Counts<IpAddr>>,
    connections: Arc<Counts<Subject>>,
    streams: Arc<Counts<Subject>>,
    meters: Mutex<HashMap<Subject, Weak<Meter>>>,
}

impl Admission {
    pub(super) fn new(limits: TunnelLimits) -> Self {
        let (handshakes, addresses, connections, streams, meters) = Default::default();
        Self { limits, handshakes, addresses, connections, streams, meters }
    }

    /// One knocks from this address, which is `proven` where an answer sent there came back. An address that isn't is made to
    /// prove itself as soon as there is some load: else somebody could fill another one's share in its name.
    pub(super) fn knock(&self, address: IpAddr, proven: bool) -> Knock {
        let address = network(address);
        let is_busy = self.handshakes.of(&()) >= self.limits.handshakes.div_ceil(4)
            || self.addresses.of(&address) >= self.limits.connections_per_address.div_ceil(4);
        if is_busy && !proven {
            return Knock::Prove;
        }
        let handshake = self.handshakes.take((), self.limits.handshakes);
        let held = self.addresses.take(address, self.limits.connections_per_address);
        match (handshake, held) {
            (Some(handshake), Some(held)) => Knock::Enter(Entry { handshake: Some(handshake), _address: held }),
            _ => Knock::Full,
        }
    }

    /// A connection of this subject.
    pub(super) fn connection(&self, subject: Subject) -> Option<Slot<Subject>> {
        self.connections.take(subject, self.limits.connections_per_identity)
    }

    /// A session of this subject.
    pub(super) fn stream(&self, subject: Subject) -> Option<Slot<Subject>> {
        self.streams.take(subject, self.limits.streams_per_identity)
    }

    /// How fast this subject's bytes may pass.
    pub(super) fn meter(&self, subject: &Subject) -> Option<Arc<Meter>> {
        let rate = self.limits.bytes_per_second?;
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = meters.get(subject).and_then(Weak::upgrade) {
            return Some(meter);
        }
        meters.retain(|_, meter| meter.strong_count() > 0);
        let meter = Arc::new(Meter::new(rate));
        meters.insert(subject.clone(), Arc::downgrade(&meter));
        Some(meter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> TunnelLimits {
        TunnelLimits { handshakes: 8, connections_per_address: 4, streams_per_identity: 2, ..TunnelLimits::default() }
    }

    #[test]
    fn an_address_has_to_prove_itself_under_load_and_gets_no_more_than_its_share() {
        let admission = Admission::new(limits());
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let Knock::Enter(first) = admission.knock(one, false) else { panic!("there is room") };
        assert!(matches!(admission.knock(one, false), Knock::Prove), "one of four is a quarter");
        assert!(matches!(admission.knock(other, false), Knock::Enter(_)), "others are not in its way");
        let mut held: Vec<Entry> = (0..3)
            .map(|_| match admission.knock(one, true) {
                Knock::Enter(entry) => entry,
                refused => panic!("{refused:?}"),
            })
            .collect();
        assert!(matches!(admission.knock(one, true), Knock::Full));
        assert!(matches!(admission.knock(other, false), Knock::Prove), "many handshakes are load for everybody");
        held.iter_mut().for_each(Entry::entered);
        assert!(matches!(admission.knock(other, false), Knock::Enter(_)), "what has entered shakes no hands");
        drop(first);
        assert!(matches!(admission.knock(one, true), Knock::Enter(_)), "what went gives its place back");
    }

    #[test]
    fn an_identity_has_so_many_sessions_and_no_more() {
        let admission = Admission::new(limits());
        let ada = ("issuer".to_owned(), "ada".to_owned());
        let held: Vec<_> = (0..2).map(|_| admission.stream(ada.clone()).expect("there is room")).collect();
        assert!(admission.stream(ada.clone()).is_none());
        assert!(admission.stream(("issuer".to_owned(), "bob".to_owned())).is_some());
        drop(held);
        assert!(admission.stream(ada).is_some());
    }
}
