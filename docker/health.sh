#!/bin/bash
# Exits with 0 where the server of this container is ready. In bash alone, which opens sockets itself: a node process each time would cost
# more than what the server does meanwhile.
host=${HOST#\[}
host=${host%\]}
case $host in
  '' | 0.0.0.0) host=127.0.0.1 ;;
  ::) host=::1 ;;
esac
exec 3<> "/dev/tcp/$host/${PORT:-3000}" || exit 1
printf 'GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r -t 2 _ status _ <&3
[ "$status" = 200 ]
