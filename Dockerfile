# langspan with its completions and man pages: docker build -t langspan .
# It needs glibc alone; the certificate authorities are in the binary.

# An older Debian than the one that runs it, so that its glibc is not too new.
FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY src src
COPY completions completions
COPY benches benches
RUN cargo install --locked --path . --root /out

FROM debian:stable-slim
COPY --from=build /out/bin/langspan /usr/local/bin/langspan
COPY completions/langspan.bash /usr/share/bash-completion/completions/langspan
COPY completions/langspan.fish /usr/share/fish/vendor_completions.d/langspan.fish
COPY completions/_langspan /usr/share/zsh/vendor-completions/_langspan
COPY completions/*.1 /usr/share/man/man1/
RUN useradd --create-home langspan
USER langspan
WORKDIR /home/langspan
ENTRYPOINT ["langspan"]
