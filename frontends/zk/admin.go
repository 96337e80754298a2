package zk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/triglot/triglot/core"
)

// AdminConfig says how AdminServer serves. The zero value has ZooKeeper's defaults.
type AdminConfig struct {
	// CommandURL is the path below which the commands are (admin.commandURL); empty is
	// /commands.
	CommandURL string
	// NoSnapshot and NoRestore turn those commands off (admin.snapshot.enabled,
	// admin.restore.enabled).
	NoSnapshot, NoRestore bool
	// RateLimit is the time in which there may be one restore, and in a thousandth of
	// which one snapshot, as in ZooKeeper 3.9.5 (admin.rateLimiterIntervalInMS); zero is
	// five minutes.
	RateLimit time.Duration
	// InitialConfig is the text of the configuration file that the server was started
	// with.
	InitialConfig string
}

const (
	defaultCommandURL = "/commands"
	defaultRateLimit  = 5 * time.Minute
	// adminTimeout bounds what a command may take of the store; a snapshot takes as
	// long as it does.
	adminTimeout = 30 * time.Second
)

// admin is ZooKeeper 3.9's AdminServer (JettyAdminServer, Commands) for one Server.
type admin struct {
	s   *Server
	cfg AdminConfig
	// names are the commands under all of their names.
	names              map[string]*adminCommand
	snapshots, restore limiter

	mu sync.Mutex
	// last is the snapshot made last, at lastAt; zero if there was none.
	last   core.Rev
	lastAt time.Time
}

// NewAdmin makes the handler of AdminServer. It serves nothing but HTTP: who listens,
// and whether by TLS, is the caller's business.
func NewAdmin(s *Server, cfg AdminConfig) http.Handler {
	if cfg.CommandURL == "" {
		cfg.CommandURL = defaultCommandURL
	}
	if cfg.RateLimit <= 0 {
		cfg.RateLimit = defaultRateLimit
	}
	a := &admin{s: s, cfg: cfg, names: map[string]*adminCommand{}}
	a.snapshots.every, a.restore.every = cfg.RateLimit/1000, cfg.RateLimit
	for i := range adminCommands {
		for _, name := range adminCommands[i].names {
			a.names[name] = &adminCommands[i]
		}
	}
	return a
}

// limiter lets one thing happen in an interval. It is safe for concurrent use; the zero
// value lets the first one.
type limiter struct {
	every time.Duration

	mu   sync.Mutex
	last time.Time
}

func (l *limiter) allow(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.last.IsZero() && now.Sub(l.last) <= l.every {
		return false
	}
	l.last = now
	return true
}

// adminReply is what a command answers: an object, to which the command's name and the
// error are added unless it has an error already, and a body instead for a stream.
type adminReply struct {
	object
	code   int // zero is OK
	err    string
	stream *core.ZnodeSnapshot
	header http.Header
}

// refusal is a reply that says why there is nothing else in it.
func refusal(code int, format string, args ...any) adminReply {
	return adminReply{code: code, err: fmt.Sprintf(format, args...)}
}

// ServeHTTP implements http.Handler.
func (a *admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, a.cfg.CommandURL)
	if !ok || rest != "" && rest[0] != '/' {
		http.NotFound(w, r)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(rest, "/")
	if name == "" {
		a.writeLinks(w)
		return
	}
	command := a.names[name]
	if command == nil {
		a.write(w, name, refusal(0, "Unknown command: %s", name))
		return
	}
	reply, shown := a.run(w, r, command, name)
	if reply.stream != nil {
		a.send(w, reply)
		return
	}
	a.write(w, shown, reply)
}

// run runs a command and returns the name under which it answers: its first, or the one
// it was asked by if it was not run.
func (a *admin) run(w http.ResponseWriter, r *http.Request, c *adminCommand, name string) (adminReply, string) {
	if !c.always && !a.s.serving() {
		return refusal(0, notServing), name
	}
	ctx, cancel := context.WithTimeout(r.Context(), adminTimeout)
	defer cancel()
	var who core.Principal
	if c.guarded {
		var refused adminReply
		if who, refused = a.authorize(ctx, r); refused.code != 0 {
			return refused, name
		}
	}
	if post := r.Method == http.MethodPost; post != c.post {
		allowed := "GET, HEAD"
		if c.post {
			allowed = "POST"
		}
		w.Header().Set("Allow", allowed)
		return refusal(http.StatusMethodNotAllowed, "%s does not take %s", c.names[0], r.Method), name
	}
	return c.run(a, &adminRequest{Request: r, who: who, ctx: ctx}), c.names[0]
}

// adminRequest is a request for a command.
type adminRequest struct {
	*http.Request
	who core.Principal
	// ctx ends earlier than that of the request.
	ctx context.Context //nolint:containedctx // of one call
}

// authorize says who asks for a command that is not for everyone: it must have all
// rights on "/" (ZooKeeper 3.9 Commands.handleAuthentication, handleAuthorization).
func (a *admin) authorize(ctx context.Context, r *http.Request) (core.Principal, adminReply) {
	info := r.Header.Values("Authorization")
	if len(info) == 0 {
		return core.Principal{}, refusal(http.StatusUnauthorized, "Auth info is missing for the command")
	}
	i, ok := a.identify(r, info[0])
	if !ok {
		return core.Principal{}, refusal(http.StatusUnauthorized, "Not authenticated")
	}
	who, err := a.s.principal(ctx, i)
	if err != nil {
		return who, a.failedAuth(err)
	}
	v, err := a.s.cfg.Store.View(ctx, who, core.Consistency{})
	if err != nil {
		return who, a.failedAuth(err)
	}
	defer v.Close()
	for _, perm := range []core.Perms{core.PermRead, core.PermWrite, core.PermCreate, core.PermDelete, core.PermAdmin} {
		if _, err := v.Znodes().Znode("/", perm); err != nil {
			return who, a.failedAuth(err)
		}
	}
	return who, adminReply{}
}

func (a *admin) failedAuth(err error) adminReply {
	if forbidden(err) {
		return refusal(http.StatusForbidden, "Not authorized")
	}
	a.s.cfg.Logger.Warn("the rights of one who asks the AdminServer cannot be told", "error", err)
	return refusal(http.StatusInternalServerError, "Error occurred during auth")
}

func forbidden(err error) bool {
	return slices.ContainsFunc([]core.Kind{core.NoAuth, core.PermissionDenied, core.UserEmpty}, func(k core.Kind) bool {
		return errors.Is(err, k)
	})
}

func (a *admin) writeLinks(w http.ResponseWriter) {
	var names []string
	for i := range adminCommands {
		names = append(names, adminCommands[i].names[0])
	}
	slices.Sort(names)
	w.Header()["Content-Type"] = nil // as AdminServer
	for _, name := range names {
		_, _ = fmt.Fprintf(w, "<a href=\"%s/%s\">%s</a>\n<br/>\n", a.cfg.CommandURL, name, name) // nobody to tell
	}
}

// write answers by JSON.
func (a *admin) write(w http.ResponseWriter, name string, reply adminReply) {
	o := reply.object
	hasError := slices.ContainsFunc(o, func(f field) bool { return f.key == "error" })
	o.put("command", name)
	if !hasError {
		var text any
		if reply.err != "" {
			text = reply.err
		}
		o.put("error", text)
	}
	for key, values := range reply.header {
		w.Header()[key] = values
	}
	w.Header().Set("Content-Type", "application/json")
	if reply.code != 0 {
		w.WriteHeader(reply.code)
	}
	_, _ = w.Write(o.pretty()) // nobody to tell
}
