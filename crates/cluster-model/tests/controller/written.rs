//! Cases that chance rarely finds, each under the name of what it is about.

use dynamo_planner::PARKED;

use crate::acts::Act::{self, *};

/// A StatefulSet of so many pods, all of which run.
fn running(replicas: u32) -> Vec<Act> {
    vec![Create { replicas, template: "one", bytes: 1 }, Kubelets]
}

fn after(mut first: Vec<Act>, then: &[Act]) -> Vec<Act> {
    first.extend_from_slice(then);
    first
}

/// Names are those of StatefulSets, too.
pub fn all() -> Vec<(&'static str, Vec<Act>)> {
    [rollouts(), sizes(), remakes(), claims()].concat()
}

fn rollouts() -> Vec<(&'static str, Vec<Act>)> {
    vec![
        (
            "below-the-partition-as-it-was",
            after(
                running(3),
                &[
                    Template("two"),
                    DeletePod(1),
                    Kubelets,
                    Partition(2),
                    Gone(2),
                    DeletePod(0),
                    DeletePod(2),
                    Kubelets,
                    Partition(1),
                    Gone(1),
                    Start(1),
                    Partition(0),
                    Kubelets,
                    DeletePod(0),
                    Kubelets,
                ],
            ),
        ),
        (
            "one-by-one-from-the-top",
            after(running(4), &[Fall(1), ByHand("two"), Partition(0), Gone(3), Start(3), Gone(2), Start(2), Kubelets]),
        ),
        (
            "a-pod-that-never-gets-ready",
            after(
                running(3),
                &[
                    Template("bad"),
                    Partition(2),
                    Kubelets,
                    Partition(0),
                    Run(2),
                    Template("three"),
                    DeletePod(1),
                    Kubelets,
                    Partition(2),
                    Kubelets,
                    Partition(0),
                    Kubelets,
                ],
            ),
        ),
        (
            "the-corrected-one-and-back",
            after(
                running(2),
                &[Template("two"), Partition(1), Kubelets, Template("one"), Partition(1), Kubelets, Partition(PARKED)],
            ),
        ),
        (
            "rolled-only-when-who-is-too-many-is-gone",
            after(
                running(3),
                &[
                    Template("two"),
                    Partition(0),
                    Kubelets,
                    Scale(4),
                    Kubelets,
                    ByHand("three"),
                    Scale(0),
                    Gone(3),
                    Gone(0),
                    Gone(1),
                    Gone(2),
                ],
            ),
        ),
        (
            "not-rolled-while-one-goes",
            after(
                running(3),
                &[
                    Template("two"),
                    Partition(0),
                    Gone(2),
                    Start(2),
                    Gone(1),
                    Start(1),
                    Gone(0),
                    Scale(2),
                    Start(0),
                    Gone(2),
                ],
            ),
        ),
    ]
}

fn sizes() -> Vec<(&'static str, Vec<Act>)> {
    vec![
        ("up-and-down", after(running(2), &[Scale(5), Start(3), Kubelets, Scale(1), Gone(3), Scale(3), Kubelets])),
        (
            "new-ones-below-the-partition",
            after(running(1), &[Template("two"), Scale(3), Kubelets, Partition(1), Kubelets]),
        ),
        (
            "to-nothing-and-back",
            after(
                running(2),
                &[
                    Scale(0),
                    Template("two"),
                    Kubelets,
                    Scale(2),
                    Kubelets,
                    Template("one"),
                    Scale(0),
                    Kubelets,
                    Partition(0),
                ],
            ),
        ),
        (
            "no-machine",
            after(
                running(2),
                &[
                    Machine(false),
                    DeletePod(1),
                    Gone(1),
                    Scale(3),
                    DeletePod(1),
                    DeletePod(2),
                    DeleteClaim(1),
                    DeleteClaim(2),
                    Scale(2),
                ],
            ),
        ),
    ]
}

fn remakes() -> Vec<(&'static str, Vec<Act>)> {
    vec![
        (
            "larger-claims",
            after(
                running(2),
                &[
                    Delete { orphan: true },
                    Create { replicas: 2, template: "one", bytes: 5 },
                    Scale(3),
                    DeletePod(1),
                    DeleteClaim(1),
                    Kubelets,
                ],
            ),
        ),
        (
            "taken-up-with-old-pods",
            after(
                running(3),
                &[
                    Template("two"),
                    Partition(2),
                    Kubelets,
                    Delete { orphan: true },
                    Create { replicas: 3, template: "two", bytes: 1 },
                    DeletePod(0),
                    Kubelets,
                    Partition(1),
                    Kubelets,
                ],
            ),
        ),
        (
            "orphans-that-go-are-not-taken-up",
            after(
                running(5),
                &[
                    DeletePod(1),
                    DeletePod(4),
                    Delete { orphan: true },
                    DeletePod(0),
                    Gone(4),
                    Create { replicas: 4, template: "two", bytes: 1 },
                    Partition(0),
                    Gone(1),
                    Gone(0),
                    Kubelets,
                ],
            ),
        ),
        (
            "the-second-batch-waits-for-the-first",
            after(
                running(1),
                &[
                    DeletePod(0),
                    Delete { orphan: true },
                    Create { replicas: 4, template: "one", bytes: 1 },
                    Scale(3),
                    Gone(0),
                    Scale(2),
                    DeletePod(1),
                    Delete { orphan: true },
                    Create { replicas: 5, template: "one", bytes: 1 },
                    Gone(1),
                ],
            ),
        ),
        (
            "pods-of-the-one-before",
            after(
                running(3),
                &[
                    Delete { orphan: false },
                    Create { replicas: 2, template: "two", bytes: 1 },
                    Gone(0),
                    Gone(1),
                    Scale(3),
                    Gone(2),
                    Kubelets,
                ],
            ),
        ),
        (
            "nothing-left-but-claims",
            after(running(2), &[Scale(0), Delete { orphan: false }, Gone(0), Gone(1), DeleteClaim(0), DeleteClaim(1)]),
        ),
    ]
}

fn claims() -> Vec<(&'static str, Vec<Act>)> {
    vec![
        (
            "a-claim-and-its-pod",
            after(
                running(3),
                &[DeleteClaim(1), DeletePod(1), Gone(1), Kubelets, DeletePod(2), DeleteClaim(2), Kubelets],
            ),
        ),
        ("a-claim-under-its-pod", after(running(3), &[DeleteClaim(2), Template("two"), Partition(0), Kubelets])),
        (
            "a-claim-that-stays",
            after(
                running(4),
                &[
                    Hold(0),
                    DeletePod(0),
                    DeleteClaim(0),
                    Gone(0),
                    DeletePod(2),
                    Gone(2),
                    Scale(3),
                    Template("two"),
                    Partition(0),
                    Release(0),
                ],
            ),
        ),
        (
            // The controller counts pods, and does not ask which ones.
            "a-pod-too-many-counts-for-one-that-is-missing",
            after(
                running(3),
                &[
                    Template("two"),
                    Partition(1),
                    Kubelets,
                    Hold(0),
                    DeleteClaim(0),
                    DeletePod(0),
                    Gone(0),
                    Scale(2),
                    Release(0),
                    Kubelets,
                ],
            ),
        ),
        (
            "a-claim-under-a-pod-that-never-ran",
            after(
                running(4),
                &[
                    Template("bad"),
                    Partition(3),
                    Kubelets,
                    DeleteClaim(3),
                    Scale(5),
                    Template("two"),
                    Partition(0),
                    Scale(4),
                    DeletePod(3),
                    Gone(3),
                    Kubelets,
                ],
            ),
        ),
        (
            "a-pod-that-never-ran-holds-up-who-is-too-many",
            after(
                running(3),
                &[
                    Template("bad"),
                    Partition(1),
                    Gone(2),
                    DeleteClaim(2),
                    Scale(4),
                    DeleteClaim(0),
                    Scale(3),
                    Run(2),
                    Scale(2),
                    Kubelets,
                ],
            ),
        ),
    ]
}
