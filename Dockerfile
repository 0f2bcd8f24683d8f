# SPDX-License-Identifier: Apache-2.0
# One image for every daemon; docker-compose.yml says which one a container runs, and as whom.
FROM debian:trixie-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends make gcc libc6-dev pkg-config libuv1-dev libmsgpack-c-dev \
	libsodium-dev nettle-dev libssl-dev libsqlite3-dev libyaml-dev libc-ares-dev libjansson-dev libvectorscan-dev libpq-dev libcurl4-openssl-dev libllhttp-dev libcmocka-dev
WORKDIR /src
COPY . .
RUN make -j"$(nproc)" all && make install DESTDIR=/out PREFIX=/usr
# What the programs are linked with, by package: the names carry versions that differ between releases.
RUN ldd /out/usr/libexec/bulkhead/* | awk '$2 == "=>" { print $3 }' | sort -u | xargs realpath | xargs dpkg -S | cut -d: -f1 \
	| sort -u >/out/packages

FROM debian:trixie-slim
COPY --from=build /out/packages /tmp/packages
RUN apt-get update && xargs apt-get install -y --no-install-recommends ca-certificates </tmp/packages \
	&& rm -rf /var/lib/apt/lists/* /tmp/packages
COPY --from=build /out/usr/ /usr/
# Volumes take owner and mode from here when they are new: a folder for each daemon that keeps something, and the sockets' folder, where
# everybody may make a socket and nobody may remove another's.
RUN install -d -m 0755 /etc/bulkhead /var/lib/bulkhead \
	&& install -d -m 0700 -o 62101 -g 62101 /var/lib/bulkhead/authd \
	&& install -d -m 0700 -o 62102 -g 62102 /var/lib/bulkhead/keyvault \
	&& install -d -m 0750 -o 62105 -g 62109 /var/lib/bulkhead/auditd \
	&& install -d -m 0700 -o 62109 -g 62109 /var/lib/bulkhead/shipper \
	&& install -d -m 1777 /run/bulkhead
ENV BULKHEAD_STATE_DIR=/var/lib/bulkhead BULKHEAD_RUN_DIR=/run/bulkhead
ENTRYPOINT ["bulkhead"]
CMD ["help"]
