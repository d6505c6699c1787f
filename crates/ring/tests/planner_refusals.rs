//! What can't be planned is refused with a sentence; what is only unusual is planned. And what a plan says for people.

mod planner_clusters;

use dynamo_ring::{RingError, planner};
use planner_clusters::*;

#[test]
fn members_that_make_no_ring_are_refused() {
    let three: Vec<_> = (0..3).map(|index| member(index, index, 1)).collect();
    let current = ring(3, 8, &three);
    let refusal = |wanted: &[_]| planner::plan(&current, wanted).expect_err("no plan");
    assert_eq!(refusal(&[]), RingError::NoMembers);
    assert_eq!(refusal(&[member(0, 0, 0)]), RingError::NoMembers);
    let crowd: Vec<_> = (0..9).map(|index| member(index, 0, 1)).collect();
    assert_eq!(refusal(&crowd), RingError::TooManyMembers { members: 9, partitions: 8 });
    let mut twin = member(7, 0, 1);
    twin.id = three[0].id;
    assert_eq!(refusal(&[three[0].clone(), twin.clone()]), RingError::DuplicateId(twin.id));
    let mut namesake = member(7, 0, 1);
    namesake.name.clone_from(&three[0].name);
    assert_eq!(refusal(&[three[0].clone(), namesake.clone()]), RingError::DuplicateName(namesake.name.clone()));
    // While the ring changes it has both who leave and who join.
    assert_eq!(refusal(&[three[1].clone(), namesake]), RingError::DuplicateName(three[0].name.clone()));
    assert!(refusal(&[]).to_string().contains("at least one member"));
}

#[test]
fn who_weighs_nothing_holds_nothing() {
    let mut members: Vec<_> = (0..6).map(|index| member(index, index % 3, 1)).collect();
    let current = ring(3, 64, &members);
    members[4].weight = 0;
    members.push(member(6, 1, 0));
    let plan = planner::plan(&current, &members).expect("five that weigh something");
    let after = plan.ring();
    assert_eq!(after.members().len(), 5);
    assert!(after.member(members[4].id).is_none() && after.member(members[6].id).is_none());
    assert!(keeps_its_promises(&after));
}

#[test]
fn fewer_nodes_than_n_make_shorter_lists() {
    let members: Vec<_> = (0..4).map(|index| member(index, index % 3, 1)).collect();
    let mut current = ring(3, 64, &members);
    for left in (1..4).rev() {
        current = planner::plan(&current, &members[..left]).expect("members that make a ring").ring();
        assert_eq!(current.homes(), left.min(3));
        assert!(keeps_its_promises(&current));
    }
    let all = planner::plan(&current, &members).expect("members that make a ring").ring();
    assert!(keeps_its_promises(&all));
}

#[test]
fn a_report_accounts_for_every_token_and_replica() {
    let mut members: Vec<_> = (0..9).map(|index| member(index, index % 3, 1)).collect();
    let current = ring(3, 256, &members);
    members.remove(0);
    members.push(member(9, 1, 2));
    let plan = planner::plan(&current, &members).expect("members that make a ring");
    let report = plan.report(8);
    let (mut tokens, mut replicas) = ((0, 0), (0, 0));
    for node in &report.nodes {
        tokens = (tokens.0 + node.before.tokens, tokens.1 + node.after.tokens);
        replicas = (replicas.0 + node.before.replicas, replicas.1 + node.after.replicas);
        let comes = report.replicas.iter().filter(|moved| moved.to == Some(node.member.id)).count();
        let goes = report.replicas.iter().filter(|moved| moved.from == Some(node.member.id)).count();
        assert_eq!(node.before.replicas + comes, node.after.replicas + goes);
    }
    assert_eq!((tokens, replicas), ((256, 256), (768, 768)));
    assert_eq!(report.zones.iter().map(|zone| zone.after.replicas).sum::<usize>(), 768);
    assert_eq!(report.nodes.len(), 10);
    assert_eq!(report.replicas.len(), plan.replicas_moved);
    assert_eq!(report.steps, planner::steps(&plan, 8).len());
    assert_eq!(report.skips_forced, 2, "256 tokens do not come out even over three zones");
    assert!(report.skips_after >= report.skips_forced);
}
