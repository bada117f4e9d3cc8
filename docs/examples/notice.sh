#!/bin/sh
# Notices with openssl 3 and curl: to try things out by hand, or where nothing else runs.
#
#   NOTICE_PUBLIC_KEY=whpk_… ./notice.sh verify WEBHOOK_ID WEBHOOK_TIMESTAMP WEBHOOK_SIGNATURE < body
#   NOTICE_SECRET=whsec_…    ./notice.sh verify WEBHOOK_ID WEBHOOK_TIMESTAMP WEBHOOK_SIGNATURE < body
#   DONGUI_URL=https://… DONGUI_TOKEN=… ./notice.sh acknowledge NOTICE_ID corrected|not_held|refused [REASON]
#   DONGUI_URL=https://… DONGUI_TOKEN=… ./notice.sh missed [CURSOR]
#
# `verify` prints "verified" and exits 0, or "refused" and exits 1. The HMAC secret is on openssl's command line while it
# runs: on a machine that you share use the public key.
set -eu
umask 077
TOLERANCE_S=300

refuse() {
    echo refused
    exit 1
}

verify() { # ID TIMESTAMP SIGNATURES, the raw body on stdin
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    { printf '%s.%s.' "$1" "$2"; cat; } > "$work/signed"
    case $2 in '' | *[!0-9]* | 0[0-9]* | ????????????*) refuse ;; esac
    age=$(($(date +%s) - $2))
    [ "${age#-}" -le "$TOLERANCE_S" ] || refuse
    set -f
    for one in $3; do # one good signature is enough: while a key is replaced, several stand in the header
        printf '%s' "${one#*,}" | openssl base64 -d -A > "$work/signature" 2> /dev/null || continue
        case ${one%%,*} in
            v1a) [ -n "${NOTICE_PUBLIC_KEY:-}" ] && ed25519 && { echo verified; exit 0; } ;;
            v1) [ -n "${NOTICE_SECRET:-}" ] && hmac && { echo verified; exit 0; } ;;
        esac
    done
    refuse
}

ed25519() {
    { # the X.509 head of an ed25519 key (RFC 8410), then its 32 bytes
        printf '\060\052\060\005\006\003\053\145\160\003\041\000'
        printf '%s' "${NOTICE_PUBLIC_KEY#whpk_}" | openssl base64 -d -A
    } > "$work/key.der"
    openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key.der" -rawin \
        -in "$work/signed" -sigfile "$work/signature" > /dev/null 2>&1
}

hmac() {
    key=$(printf '%s' "${NOTICE_SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
    openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary "$work/signed" > "$work/wanted"
    cmp -s "$work/wanted" "$work/signature"
}

ask() { # the token comes by stdin: nobody sees it on the command line
    printf 'Authorization: Bearer %s\n' "$DONGUI_TOKEN" | curl --silent --show-error --fail-with-body --header @- "$@"
}

acknowledge() { # ID OUTCOME [REASON]
    reason=${3:+",\"reason\":\"$3\""}
    ask --header 'Content-Type: application/json' --data "{\"outcome\":\"$2\"$reason}" \
        "$DONGUI_URL/v1/notices/$1/acknowledgement"
}

missed() { # [CURSOR]
    ask --get ${1:+--data-urlencode "after=$1"} "$DONGUI_URL/v1/notices"
}

case ${1:-} in
    verify) [ $# -eq 4 ] || refuse && shift && verify "$@" ;;
    acknowledge | missed) "$@" ;;
    *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
