# The images that a cluster pulls, built from source:
#
#   docker build --target node     -t dynamo-k8s/node:TAG .
#   docker build --target operator -t dynamo-k8s/operator:TAG .
#
# BASE is what they stand on: glibc, libgcc and certificates are all that is needed of it. Where no registry can be
# reached, e2e/images/build makes the same images from binaries of this machine's cargo.
ARG RUST=rust:1.95-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p dynamo-node -p dynamo-cli \
 && cargo build --release --locked -p dynamo-operator \
 && mkdir /out \
 && for name in dynamo-node dynamo dynamo-operator; do strip --strip-debug -o /out/$name target/release/$name; done

FROM ${BASE} AS base
# The same numbers wherever the image runs: a pod that says runAsNonRoot needs a number, and a volume an owner.
USER 65532:65532
ENV PATH=/usr/local/bin
STOPSIGNAL SIGTERM

# Nothing is written but to /var/lib/dynamo (a volume): the root file system may be read-only.
FROM base AS node
COPY --from=build /out/dynamo-node /out/dynamo /usr/local/bin/
EXPOSE 7400 8400 9400
ENTRYPOINT ["dynamo-node"]

FROM base AS operator
COPY --from=build /out/dynamo-operator /usr/local/bin/
ENTRYPOINT ["dynamo-operator"]
