"""What runs on the device: sh that dash, mksh, busybox and toybox agree on.

The folder $d is made by mkdir, which only one can do, and holds

    journal    edgekit-state 1|NONCE|SILENCE|BOOT_ID|WHO
               change|KIND|NAME|OLD|NEW|.      one a line, in the order in which they are restored
               end
    beat       the device's uptime when the host last said that it is there; only that it changes counts
    watchdog   PID START NONCE: its process id, when that began (clock ticks after boot), whose it is
    fixed      what fixed performance was last set to, which Android takes and does not tell
    log        what the watchdog had to say

The journal is data: a kind names a way to read and write that is here, and nothing in it is ever run. A line
that does not end in |. was cut off by a power failure and is told, not used.
"""

from __future__ import annotations

import shlex

# Standard input is closed to every program: under adb it is the host's, and the loops read their own file.
LIBRARY = r"""
get() {
  case $1 in
    file) cat "$2" ;;
    setting) settings get "${2%%/*}" "${2#*/}" ;;
    screen)
      case $(dumpsys power | grep mWakefulness=) in
        *=Awake*|*=Dreaming*) echo on ;;
        *=Asleep*|*=Dozing*) echo off ;;
        *) echo 'dumpsys power does not tell whether it is awake' >&2; return 1 ;;
      esac ;;
    fixed)
      command -v cmd >/dev/null || { echo 'there is no program cmd' >&2; return 1; }
      if [ -s "$d/fixed" ]; then cat "$d/fixed"; else echo false; fi ;;
    *) return 1 ;;
  esac </dev/null
}
put() {
  case $1 in
    file) echo "$3" >"$2" ;;
    setting)
      if [ "$3" = null ]; then settings delete "${2%%/*}" "${2#*/}"
      else settings put "${2%%/*}" "${2#*/}" "$3"; fi ;;
    screen) if [ "$3" = on ]; then input keyevent 224; else input keyevent 223; fi ;;
    fixed) cmd power set-fixed-performance-mode-enabled "$3" && echo "$3" >"$d/fixed" ;;
  esac </dev/null >/dev/null
}
holds() {
  looks=0
  while :; do
    now=$(get "$1" "$2" 2>/dev/null)
    [ "$now" = "$3" ] && return 0
    looks=$((looks+1))
    { [ "$1" != file ] && [ $looks -lt 10 ]; } || return 1
    sleep 0.3 2>/dev/null || sleep 1
  done
}
each() {
  ended=
  while IFS='|' read -r word kind name old new dot <&3 || [ "$word" ]; do
    case "$word|$dot" in
      'change|.') "$1" "$kind" "$name" "$old" "$new" ;;
      change*) echo "torn|$kind|$name|$old|$new" ;;
      'end|') ended=1 ;;
    esac
  done 3<"$d/journal"
}
owner() { own=; { IFS='|' read -r _ own silence boot who <"$d/journal"; } 2>/dev/null; [ "$own" ]; }
same_boot() { id=; read -r id </proc/sys/kernel/random/boot_id; [ "$id" = "$boot" ]; } 2>/dev/null
due() { same_boot || { [ "$1" = setting ] && [ "$(get "$1" "$2")" = "$4" ]; }; }
back() { if due "$@"; then put "$1" "$2" "$3"; fi; }
proved() {
  said=restored
  if same_boot; then holds "$1" "$2" "$3" || said=failed
  elif due "$@"; then said=failed now=$4
  else now=$(get "$1" "$2" 2>/dev/null); [ "$now" = "$3" ] || said=left
  fi
  [ $said != failed ] || failed=1
  echo "$said|$1|$2|$3|$now"
}
restore() { failed=; each back; each proved; [ -z "$failed" ]; }
leave() { mv "$d" "$d.gone.$$" 2>/dev/null && rm -rf "$d.gone.$$"; true; }
started() { { read -r s <"/proc/$1/stat"; } 2>/dev/null || return 1; s=${s##*) }; set -- $s; echo "${20}"; }
alive() {
  pid= begun= whose=
  { read -r pid begun whose <"$d/watchdog"; } 2>/dev/null || return 1
  [ "$whose" = "$own" ] && [ "$(started "$pid")" = "$begun" ] &&
    tr '\000' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "$own"
}
stop() { if alive; then kill -9 "-$pid" 2>/dev/null || kill -9 "$pid" 2>/dev/null; fi; }
uptime_now() { up=; { read -r up _ </proc/uptime; } 2>/dev/null; up=${up%%.*}; }
flush() { sync "$1" 2>/dev/null || sync; }
"""

# $1 the folder, $2 the nonce, $3 seconds. Time is the device's uptime, or where it is not told the sum of its
# own sleeps: what the wall clock does is nothing to it. TERM (a shutdown) restores at once.
_WATCHDOG = (
    LIBRARY
    + r"""
trap '' HUP INT; trap 'over=1' TERM
d=$1 mine=$2 limit=$3 over= last= since= slept=0 tries=0
tick=$((limit/12)); [ $tick -ge 1 ] || tick=1; [ $tick -le 5 ] || tick=5
echo "$$ $(started $$) $mine" >"$d/watchdog.new" && mv "$d/watchdog.new" "$d/watchdog" || exit 1
while owner && [ "$own" = "$mine" ]; do
  pid=; { read -r pid _ <"$d/watchdog"; } 2>/dev/null; [ "$pid" = $$ ] || exit 0
  uptime_now; at=${up:-$slept}
  beat=; { read -r beat <"$d/beat"; } 2>/dev/null
  if [ -z "$since" ] || [ "$beat" != "$last" ]; then since=$at last=$beat; fi
  if [ "$over" ] || [ $((at-since)) -ge "$limit" ]; then
    if restore; then leave; exit 0; fi
    tries=$((tries+1)); [ $tries -lt 60 ] || exit 1
  fi
  sleep $tick; slept=$((slept+tick))
done
"""
)

# What begins, and begins again, a watchdog: out of the link's session, and nothing that deadlines kill.
_START = rf"""
watchdog={shlex.quote(_WATCHDOG)}
start() {{
  unset EDGEKIT_MARK
  rm -f "$d/watchdog"
  way=; command -v nohup >/dev/null 2>&1 && way=nohup
  command -v setsid >/dev/null 2>&1 && way="setsid $way"
  $way sh -c "$watchdog" edgekit-watchdog "$d" "$own" "$silence" </dev/null >>"$d/log" 2>&1 &
  waits=0
  while [ $waits -lt 100 ]; do
    alive && return 0
    waits=$((waits+1)); sleep 0.1 2>/dev/null || {{ sleep 1; waits=$((waits+9)); }}
  done
  return 1
}}
"""

# $1 the folder, then triples of kind, name and the new value. One line each: what is there now.
CHECK = (
    LIBRARY
    + r"""
d=$1; shift
while [ $# -gt 0 ]; do
  if ! old=$(get "$1" "$2" 2>&1); then echo "unreadable|$1|$2||$(echo "$old" | tail -n 1)"
  elif [ "$1" = file ] && [ ! -w "$2" ]; then echo "unwritable|$1|$2|$old|"
  else echo "there|$1|$2|$old|"; fi
  shift 3
done
"""
)

# $1 the folder, $2 the nonce, $3 seconds of silence, $4 who asks, then the triples.
BEGIN = (
    LIBRARY
    + _START
    + r"""
trap '' HUP; umask 077
d=$1 own=$2 silence=$3 who=$4; shift 4
mkdir -p -- "${d%/*}" || exit 1
mkdir -- "$d" 2>/dev/null || { [ -d "$d" ] && { echo 'taken||||'; exit 0; }; exit 1; }
give_up() { rm -rf "$d"; exit 1; }
read -r boot </proc/sys/kernel/random/boot_id || boot=
lines= n=$#
while [ $n -gt 0 ]; do
  old=$(get "$1" "$2") || give_up
  lines="change|$1|$2|$old|$3|.
$lines"
  set -- "$@" "$1" "$2" "$3"; shift 3; n=$((n-3))
done
echo "edgekit-state 1|$own|$silence|$boot|$who
${lines}end" >"$d/journal.new" && [ "$(tail -n 1 "$d/journal.new")" = end ] || give_up
flush "$d/journal.new"; mv "$d/journal.new" "$d/journal" && flush "$d" || give_up
uptime_now; echo "${up:--} $$" >"$d/beat" || give_up
start || { echo 'no-watchdog||||'; tail -n 1 "$d/log" >&2; rm -rf "$d"; exit 0; }
n=$#
while [ $n -gt 0 ]; do
  why=$(put "$1" "$2" "$3" 2>&1) || { echo "refused|$1|$2|$3|$(echo "$why" | tail -n 1)"; break; }
  set -- "$@" "$1" "$2" "$3"; shift 3; n=$((n-3))
done
bad=$n n=$#
[ "$bad" -gt 0 ] || while [ $n -gt 0 ]; do
  if holds "$1" "$2" "$3"; then echo "changed|$1|$2|$3|"; else echo "mismatch|$1|$2|$3|$now"; bad=1; fi
  shift 3; n=$((n-3))
done
uptime_now; echo "${up:--} begun" >"$d/beat"
[ "$bad" = 0 ] && exit 0
if restore; then stop; leave; fi
"""
)

# $1 the folder, $2 the nonce: the host is there. Says "beating", or "gone" where the state was given back.
BEAT = (
    LIBRARY
    + _START
    + r"""
d=$1
owner && [ "$own" = "$2" ] || { echo 'gone||||'; exit 0; }
uptime_now; echo "${up:--} $$" >"$d/beat"
alive || start || { echo 'no-watchdog||||'; exit 0; }
echo 'beating||||'
"""
)

# $1 the folder, $2 the nonce: what no longer holds is told, and everything restored.
END = (
    LIBRARY
    + r"""
trap '' HUP
d=$1
owner && [ "$own" = "$2" ] || { echo 'gone||||'; exit 0; }
moved() { holds "$1" "$2" "$4" || echo "moved|$1|$2|$4|$now"; }
each moved
if restore; then stop; leave; fi
"""
)

# $1 the folder (EdgeKit's in $HOME where it is empty). One line: what a host before left there.
LOOK = (
    LIBRARY
    + r"""
d=${1:-${HOME%/}/.edgekit/state}
[ -d "$d" ] || { echo 'none||||'; exit 0; }
owner || { if [ -e "$d/journal" ]; then echo 'journal|unread|dead||'; else echo 'empty||||'; fi; exit 0; }
same=other; same_boot && same=same
state=dead; alive && state=alive
beat=; { read -r beat _ <"$d/beat"; } 2>/dev/null
uptime_now; age=
case $beat in ''|*[!0-9]*) ;; *) [ -z "$up" ] || age=$((up-beat)) ;; esac
echo "journal|$same|$state|$age|$silence|$own|$who"
"""
)

# $1 the folder, $2 the nonce that LOOK told (or nothing): restore what the journal says, whoever wrote it.
RESTORE = (
    LIBRARY
    + r"""
trap '' HUP
d=$1
if ! owner; then
  if [ -e "$d/journal" ]; then echo "unread||||$(head -n 1 "$d/journal" | cut -c 1-200)"
  else echo 'empty||||'; fi
  leave; exit 0
fi
[ "$own" = "$2" ] || { echo 'gone||||'; exit 0; }
if restore; then stop; leave; fi
"""
)
