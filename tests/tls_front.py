"""TLS in front of a plain server on loopback, on a port that it prints: tls_front.py CERTIFICATE KEY PORT."""

import socket
import ssl
import sys
import threading


def pump(source, target):
    """Copies bytes until one side ends."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for one in (source, target):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client, context, port):
    """Joins a client that trusts the certificate with the plain server."""
    try:
        secure = context.wrap_socket(client, server_side=True)
    except (ssl.SSLError, OSError):
        return
    plain = socket.create_connection(("127.0.0.1", port))
    threading.Thread(target=pump, args=(secure, plain), daemon=True).start()
    pump(plain, secure)


def main():
    certificate, key, port = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client, context, int(port)), daemon=True).start()


main()
