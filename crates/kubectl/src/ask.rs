//! What is asked of the operator: written into the resource's spec, so that who may edit the resource may ask, and what was
//! asked for stands where everybody sees it.

use std::io::{self, BufRead, IsTerminal, Write};

use dynamo_crd::{DynamoCluster, Replacement, TlsMode, names, status::NodeStatus};
use k8s_openapi::{
    api::core::v1::{Node, PersistentVolumeClaim},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{args::Sure, failure::Failure, target::Target};

const MANAGER: &str = "kubectl-dynamo";
/// Somebody else may edit the resource in between.
const TRIES: u32 = 4;
/// As many as the resource takes.
const REPLACED_MAX: usize = 16;

pub async fn restart(target: &Target, anyway: bool, sure: &Sure) -> Result<(), Failure> {
    let template = target.cluster.status.as_ref().and_then(|status| status.template.clone());
    let mut asked = json!({ "restartRequestedAt": Time(Timestamp::now()) });
    if anyway {
        // It counts for the template that the nodes are to have now, and for no later one.
        let template = template.ok_or_else(|| {
            Failure::Unavailable("no operator has looked at the cluster yet: there is nothing to restart".to_owned())
        })?;
        confirm(sure, "keys lose their quorum while single nodes restart: reads and writes of them fail for a moment")?;
        asked = json!({ "restartAnyway": template });
    }
    edit(target, |_| Ok(Some(asked.clone()))).await?;
    let how = if anyway { "one at a time" } else { "a safe set at a time" };
    say(&format!("{} restarts, {how}: `kubectl dynamo plan` says how far it is", target.name))
}

pub async fn replace(target: &Target, nodes: &[String], sure: &Sure) -> Result<(), Failure> {
    let known = known(target)?;
    let mut wanted = Vec::new();
    for name in nodes {
        if !known.iter().any(|node| node.name == *name) {
            let names: Vec<&str> = known.iter().map(|node| node.name.as_str()).collect();
            return Err(Failure::NotFound(format!(
                "{} has no node {name}: its nodes are {}",
                target.name,
                names.join(", ")
            )));
        }
        wanted.push(Replacement { node: name.clone(), claim_uid: claim(target, name).await? });
    }
    confirm(
        sure,
        &format!(
            "{} get empty disks, one at a time and while enough other replicas have everything; what is on the present \
             ones is deleted",
            nodes.join(", ")
        ),
    )?;
    edit(target, |cluster| merged(cluster, &wanted).map(Some)).await?;
    say(&format!("asked for; `kubectl dynamo -n {} -c {} why` says what it waits for", target.namespace, target.name))
}

pub async fn drain(target: &Target, machine: &str, sure: &Sure) -> Result<(), Failure> {
    let on = |node: &&NodeStatus| node.kubernetes_node.as_deref() == Some(machine);
    let nodes: Vec<String> = known(target)?.iter().filter(on).map(|node| node.name.clone()).collect();
    if nodes.is_empty() {
        return Err(Failure::NotFound(format!("no node of {} is on machine {machine}", target.name)));
    }
    // Who may not look at machines is believed.
    let machines: Api<Node> = Api::all(target.client.clone());
    let found = machines.get(machine).await.ok();
    if found.is_some_and(|found| found.spec.and_then(|spec| spec.unschedulable) != Some(true)) {
        return Err(Failure::Usage(format!(
            "machine {machine} still takes pods, so they would come back to it: `kubectl cordon {machine}` first"
        )));
    }
    replace(target, &nodes, sure).await
}

pub async fn cancel(target: &Target) -> Result<(), Failure> {
    let maintenance = &target.cluster.spec.maintenance;
    if maintenance.replace.is_empty() && maintenance.restart_anyway.is_none() {
        return say("nothing was asked for that could be taken back");
    }
    edit(target, |_| Ok(Some(json!({ "replace": null, "restartAnyway": null })))).await?;
    say("taken back; what has begun is finished, since half of it would be worse")
}

pub async fn rotate(target: &Target, authority: bool, sure: &Sure) -> Result<(), Failure> {
    let mode = target.cluster.spec.tls.mode;
    if mode != TlsMode::OperatorCA {
        return Err(Failure::Usage(format!(
            "the certificates of {} are not the operator's (tls.mode {mode:?}): whoever makes them makes new ones",
            target.name
        )));
    }
    // New certificates come from a new authority too.
    let what = "a new authority is made, and clients that keep a copy of the bundle have to fetch it anew before the former one goes";
    confirm(sure, what)?;
    let key = if authority { "caRequestedAt" } else { "certificatesRequestedAt" };
    let now = Time(Timestamp::now());
    edit(target, |_| Ok(Some(json!({ key: now.clone() })))).await?;
    let what = if authority { "a new authority" } else { "new certificates" };
    say(&format!("{what} for {}: `kubectl dynamo plan` says how far it is", target.name))
}

pub async fn pause(target: &Target, plan_only: bool) -> Result<(), Failure> {
    let maintenance = &target.cluster.spec.maintenance;
    if if plan_only { maintenance.plan_only } else { maintenance.pause } {
        return say("it is paused already");
    }
    let key = if plan_only { "planOnly" } else { "pause" };
    edit(target, |_| Ok(Some(json!({ key: true })))).await?;
    say(match plan_only {
        true => {
            "the operator only says what it would do (`kubectl dynamo plan`) until `kubectl dynamo resume`; a change of the ring that is under way goes on"
        }
        false => {
            "paused: no pod is stopped and no data moved by the operator until `kubectl dynamo resume`; a change of the ring that is under way goes on"
        }
    })
}

pub async fn resume(target: &Target) -> Result<(), Failure> {
    let maintenance = &target.cluster.spec.maintenance;
    if !maintenance.pause && !maintenance.plan_only {
        return say("it is not paused");
    }
    edit(target, |_| Ok(Some(json!({ "pause": false, "planOnly": false })))).await?;
    say("the operator works again")
}

fn known(target: &Target) -> Result<&[NodeStatus], Failure> {
    let none = || Failure::Unavailable("no operator has looked at the cluster yet: its nodes are not known".to_owned());
    Ok(&target.cluster.status.as_ref().ok_or_else(none)?.nodes)
}

/// The uid of the claim that a node has now: the one that follows has another, so nothing happens twice.
async fn claim(target: &Target, node: &str) -> Result<String, Failure> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(target.client.clone(), &target.namespace);
    let name = names::volume_claim(node);
    let found = claims.get_opt(&name).await;
    let found = found.map_err(|error| Failure::api(format!("reading the volume claim {name}"), &error))?;
    found.and_then(|claim| claim.uid()).ok_or_else(|| Failure::NotFound(format!("{node} has no volume claim {name}")))
}

/// The requests that stand, with these.
fn merged(cluster: &DynamoCluster, wanted: &[Replacement]) -> Result<Value, Failure> {
    let stays = |former: &&Replacement| !wanted.iter().any(|asked| asked.node == former.node);
    let standing = cluster.spec.maintenance.replace.iter().filter(stays);
    let all: Vec<&Replacement> = standing.chain(wanted).collect();
    if all.len() > REPLACED_MAX {
        return Err(Failure::Usage(format!(
            "{} requests would stand, and {REPLACED_MAX} is the most: `kubectl dynamo cancel` takes those back that are done",
            all.len()
        )));
    }
    Ok(json!({ "replace": all }))
}

/// Changes spec.maintenance, planned on what stands there.
async fn edit(
    target: &Target,
    change: impl Fn(&DynamoCluster) -> Result<Option<Value>, Failure>,
) -> Result<(), Failure> {
    let clusters = target.clusters();
    let doing = format!("editing DynamoCluster {}", target.name);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let mut cluster = target.cluster.clone();
    for _ in 0..TRIES {
        let Some(maintenance) = change(&cluster)? else { return Ok(()) };
        let document = json!({
            "metadata": { "resourceVersion": cluster.resource_version() },
            "spec": { "maintenance": maintenance },
        });
        match clusters.patch(&target.name, &params, &Patch::Merge(document)).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                cluster = clusters.get(&target.name).await.map_err(|error| Failure::api(&doing, &error))?;
            }
            Err(error) => return Err(Failure::api(&doing, &error)),
        }
    }
    Err(Failure::Unavailable(format!("{doing}: others edit it all the time; nothing was changed, try again")))
}

fn confirm(sure: &Sure, what: &str) -> Result<(), Failure> {
    if sure.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("{what}: say --yes if that is meant; nothing was changed")));
    }
    eprint!("{what}. Go on? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::Usage("nothing was changed".to_owned()))
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

#[cfg(test)]
mod tests {
    use dynamo_crd::DynamoClusterSpec;

    use super::*;

    fn asked(node: &str, uid: &str) -> Replacement {
        Replacement { node: node.to_owned(), claim_uid: uid.to_owned() }
    }

    #[test]
    fn requests_that_stand_stay_and_one_for_a_node_takes_the_place_of_its_former() {
        let mut cluster = DynamoCluster::new("shop", DynamoClusterSpec::default());
        cluster.spec.maintenance.replace = vec![asked("shop-a-0", "1"), asked("shop-b-0", "2")];
        let all = merged(&cluster, &[asked("shop-b-0", "3")]).unwrap();
        assert_eq!(all, json!({ "replace": [asked("shop-a-0", "1"), asked("shop-b-0", "3")] }));
        let many: Vec<Replacement> = (0..16).map(|number| asked(&format!("shop-c-{number}"), "4")).collect();
        assert!(matches!(merged(&cluster, &many), Err(Failure::Usage(_))));
    }
}
