package zk

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/triglot/triglot/core"
)

// identify says who shows the text of an Authorization header: a scheme and what proves
// it, but for ip. It is that identity alone (ZooKeeper 3.9 Commands
// .handleAuthentication), and shown in no log.
func (a *admin) identify(r *http.Request, info string) (*identities, bool) {
	scheme, proof, shown := strings.Cut(strings.TrimRight(info, " "), " ")
	if strings.Contains(proof, " ") {
		return nil, false
	}
	client := &conn{srv: a.s}
	i := a.s.newIdentities(nil)
	switch {
	case scheme == core.SchemeIP:
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			return nil, false
		}
		return i.with(core.SchemeIP, javaAddress(host), i.credentials), true
	case scheme == schemeDigest && shown:
		client.who.Store(i)
		ok := client.authenticate(scheme, []byte(proof))
		return client.who.Load(), ok
	}
	return nil, false
}

// snapshot streams a snapshot in ZooKeeper's format, or only makes one.
func (a *admin) snapshot(r *adminRequest) adminReply {
	if a.cfg.NoSnapshot {
		a.s.cfg.Logger.Warn("the snapshot command is disabled")
		return adminReply{code: http.StatusServiceUnavailable}
	}
	if !a.snapshots.allow(time.Now()) {
		a.s.stats.count(snapshotsRateLimited)
		return adminReply{code: http.StatusTooManyRequests}
	}
	began := time.Now()
	s, err := a.s.cfg.Znodes.Snapshot(r.Context(), r.who)
	if err != nil {
		return a.failed("the snapshot failed", snapshotErrors, err)
	}
	a.s.stats.count(snapshots)
	a.s.stats.summaries[snapshotTime].observe(time.Since(began), 1)
	a.mu.Lock()
	a.last, a.lastAt = s.Rev, time.Now()
	a.mu.Unlock()
	reply := adminReply{header: http.Header{ // the names as ZooKeeper has them
		"last_zxid": {fmt.Sprintf("0x%x", int64(s.Rev))}, "snapshot_size": {strconv.FormatInt(s.Size, 10)},
	}}
	if streaming := r.URL.Query().Get("streaming"); r.URL.Query().Has("streaming") && !strings.EqualFold(streaming, "true") {
		_ = s.Body.Close() // it was made, and nobody wants it
		return reply
	}
	reply.stream = &s
	return reply
}

// failed answers a snapshot or a restore that was not made.
func (a *admin) failed(what string, errs counter, err error) adminReply {
	switch {
	case forbidden(err):
		return refusal(http.StatusForbidden, "Not authorized")
	case errors.Is(err, core.TooManyRequests):
		return adminReply{code: http.StatusTooManyRequests}
	}
	a.s.stats.count(errs)
	a.s.cfg.Logger.Warn(what, "error", err)
	return adminReply{code: http.StatusInternalServerError}
}

// send streams a snapshot.
func (a *admin) send(w http.ResponseWriter, reply adminReply) {
	defer reply.stream.Body.Close() //nolint:errcheck // it was only read
	for key, values := range reply.header {
		w.Header()[key] = values
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(reply.stream.Size, 10))
	if _, err := io.Copy(w, reply.stream.Body); err != nil {
		a.s.cfg.Logger.Warn("the snapshot was not sent to its end", "error", err)
	}
}

func (a *admin) lastSnapshot(*adminRequest) adminReply {
	a.mu.Lock()
	defer a.mu.Unlock()
	zxid, at := int64(-1), int64(-1)
	if !a.lastAt.IsZero() {
		zxid, at = int64(a.last), a.lastAt.Unix()
	}
	return adminReply{object: object{{"zxid", strconv.FormatUint(uint64(zxid), 16)}, {"timestamp", at}}}
}

// restoreSnapshot replaces all znodes by those of a snapshot, which is the body (ZooKeeper
// 3.9 Commands.RestoreCommand). Like a snapshot, it is for who may see all that ACLs
// protect. It answers with the revision that the store has then.
func (a *admin) restoreSnapshot(r *adminRequest) adminReply {
	if a.cfg.NoRestore {
		a.s.cfg.Logger.Warn("the restore command is disabled")
		return adminReply{code: http.StatusServiceUnavailable}
	}
	if !a.restore.allow(time.Now()) {
		a.s.stats.count(restoresRateLimited)
		return adminReply{code: http.StatusTooManyRequests}
	}
	began := time.Now()
	rev, err := a.s.cfg.Znodes.Restore(r.Context(), r.who, r.Body)
	if err != nil {
		return a.failed("the restore failed", restoreErrors, err)
	}
	a.s.stats.summaries[restoreTime].observe(time.Since(began), 1)
	return told(field{"last_zxid", int64(rev)})
}
