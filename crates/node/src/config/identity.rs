//! Which node this is: a member of the first ring, or one that came later and joins the ring as it is by then (§4.9).

use super::{Config, MemberConfig, check::Problems};

impl Config {
    /// What `cluster.members` says of this node; nothing of one that came later.
    pub fn me(&self) -> Option<&MemberConfig> {
        self.cluster.members.iter().find(|member| member.name == self.node.name)
    }

    /// This node, whether `cluster.members` names it or not. Its own keys fill what the list does not say.
    pub fn this_node(&self) -> MemberConfig {
        let node = &self.node;
        let mut this = self.me().cloned().unwrap_or_else(|| MemberConfig {
            name: node.name.clone(),
            zone: node.zone.clone(),
            address: node.peer_listen.clone(),
            client_address: node.client_listen.clone(),
            weight: node.weight,
        });
        if let Some(address) = &node.advertise_peer {
            this.address.clone_from(address);
        }
        match &node.advertise_client {
            Some(address) => this.client_address.clone_from(address),
            None if this.client_address.is_empty() => this.client_address.clone_from(&node.client_listen),
            None => {}
        }
        this
    }

    pub(super) fn check_identity(&self, found: &mut Problems) {
        if self.cluster.members.is_empty() || self.node.name.is_empty() {
            return;
        }
        match self.me() {
            Some(me) => self.check_founder(me, found),
            None => self.check_newcomer(found),
        }
    }

    fn check_founder(&self, me: &MemberConfig, found: &mut Problems) {
        let node = &self.node;
        let zone = format!("cluster.members puts {:?} in zone {:?}: leave the key out", me.name, me.zone);
        found.demand(node.zone.is_empty() || node.zone == me.zone, "node.zone", zone);
        let weight = format!("cluster.members gives {:?} the weight {}: leave the key out", me.name, me.weight);
        found.demand(node.weight == 1 || node.weight == me.weight, "node.weight", weight);
    }

    /// A misspelt name is no newcomer's, in all likelihood, so the members are named before anything else is asked for.
    fn check_newcomer(&self, found: &mut Problems) {
        let node = &self.node;
        let members = self.cluster.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(", ");
        let newcomer = "a node that joins them";
        if node.zone.is_empty() && self.cluster.seeds.is_empty() {
            let text = format!(
                "cluster.members has no member {:?}; they are {members}. If this is {newcomer}, it needs node.zone and \
                 cluster.seeds",
                node.name
            );
            return found.demand(false, "node.name", text);
        }
        let who = format!("{:?} is none of cluster.members ({members}) but {newcomer}", node.name);
        found.demand((1..=253).contains(&node.name.len()), "node.name", "1 to 253 bytes");
        found.demand(!node.zone.is_empty(), "node.zone", format!("{who}: say which zone it is in"));
        found.demand(node.zone.len() <= 253, "node.zone", "1 to 253 bytes");
        let text = format!("{who}: say where some of them are, such as [\"node-1.example:8400\"]");
        found.demand(!self.cluster.seeds.is_empty(), "cluster.seeds", text);
        for (key, advertised, listen_key, listen, whom) in [
            ("node.advertise_peer", &node.advertise_peer, "node.peer_listen", &node.peer_listen, "peers"),
            ("node.advertise_client", &node.advertise_client, "node.client_listen", &node.client_listen, "clients"),
        ] {
            let text = format!("{who}: say where {whom} reach it, since {listen_key} is {listen}");
            found.demand(advertised.is_some() || is_reachable(listen), key, text);
        }
    }
}

/// Whether others can be told what is listened on: not every address of this machine, and no port that is yet unknown.
fn is_reachable(listen: &str) -> bool {
    let Some((host, port)) = listen.rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_wildcard = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified());
    !is_wildcard && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_every_address_or_any_port_can_not_be_told_to_others() {
        for listen in ["127.0.0.1:8400", "node-1.shop:8400", "[fd00::1]:8400"] {
            assert!(is_reachable(listen), "{listen}");
        }
        for listen in ["0.0.0.0:8400", "[::]:8400", "[::0]:8400", "127.0.0.1:0", "nowhere", ""] {
            assert!(!is_reachable(listen), "{listen}");
        }
    }
}
