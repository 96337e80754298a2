package zk

import (
	"crypto/tls"
	"slices"
	"strconv"
)

// adminCommand is a command of AdminServer.
type adminCommand struct {
	// names are its names, the one that it answers under first.
	names []string
	// always says that it needs no leader, guarded that it needs all rights on "/", post
	// that it takes POST alone.
	always, guarded, post bool
	run                   func(a *admin, r *adminRequest) adminReply
}

// adminCommands are those of ZooKeeper 3.9.5 (Commands). What it adds in 3.10 is unknown
// here, too.
var adminCommands = []adminCommand{
	{names: []string{"configuration", "conf", "config"}, run: (*admin).configuration},
	{names: []string{"connection_stat_reset", "crst"}, run: (*admin).resetConnections},
	{names: []string{"connections", "cons"}, run: (*admin).connections},
	{names: []string{"dirs"}, run: (*admin).dirs},
	{names: []string{"dump"}, run: (*admin).dump},
	{names: []string{"environment", "env", "envi"}, always: true, run: (*admin).environment},
	{names: []string{"get_trace_mask", "gtmk"}, always: true, run: (*admin).traceMask},
	{names: []string{"hash"}, run: with(field{"digests", []string(nil)})},
	{names: []string{"initial_configuration", "icfg"}, run: (*admin).initialConfiguration},
	{names: []string{"is_read_only", "isro"}, run: (*admin).isReadOnly},
	{names: []string{"last_snapshot", "lsnp"}, run: (*admin).lastSnapshot},
	{names: []string{"leader", "lead"}, run: (*admin).leader},
	{names: []string{"monitor", "mntr"}, always: true, run: (*admin).monitor},
	{names: []string{"observer_connection_stat_reset", "orst"}, run: with()},
	{names: []string{"observers", "obsr"}, run: (*admin).observers},
	{names: []string{"restore", "rest"}, guarded: true, post: true, run: (*admin).restoreSnapshot},
	{names: []string{"ruok"}, run: with()},
	{names: []string{"server_stats", "srvr"}, run: (*admin).serverStats},
	{names: []string{"set_trace_mask", "stmk"}, always: true, run: (*admin).setTraceMask},
	{names: []string{"snapshot", "snap"}, guarded: true, run: (*admin).snapshot},
	{names: []string{"stat_reset", "srst"}, run: (*admin).resetStats},
	{names: []string{"stats", "stat"}, run: (*admin).stats},
	{names: []string{"system_properties", "sysp"}, always: true, run: (*admin).systemProperties},
	{names: []string{"voting_view"}, run: (*admin).votingView},
	{names: []string{"watch_summary", "wchs"}, run: (*admin).watchSummary},
	{names: []string{"watches", "wchc"}, run: (*admin).watches},
	{names: []string{"watches_by_path", "wchp"}, run: (*admin).watchesByPath},
	{names: []string{"zabstate"}, always: true, run: (*admin).zabState},
}

// with is a command that always answers the same.
func with(fields ...field) func(*admin, *adminRequest) adminReply {
	return func(*admin, *adminRequest) adminReply { return adminReply{object: slices.Clone(fields)} }
}

func told(fields ...field) adminReply { return adminReply{object: fields} }

func (a *admin) configuration(*adminRequest) adminReply {
	plain, _ := a.s.ports()
	c := &a.s.cfg
	return told(
		field{"client_port", plain},
		field{"data_dir", c.About.DataDir},
		field{"data_log_dir", c.About.DataDir},
		field{"tick_time", c.Limits.Tick.Milliseconds()},
		field{"max_client_cnxns", c.Limits.MaxPerIP},
		field{"min_session_timeout", a.s.timeout(0).Milliseconds()},
		field{"max_session_timeout", a.s.timeout(1 << 62).Milliseconds()},
		field{"server_id", a.s.serverID()},
		field{"client_port_listen_backlog", -1},
	)
}

func (a *admin) resetConnections(*adminRequest) adminReply {
	a.s.resetConnectionStats()
	return told()
}

func (a *admin) resetStats(*adminRequest) adminReply {
	a.s.stats.reset()
	return told()
}

func (a *admin) connections(*adminRequest) adminReply { return adminReply{object: a.s.clients(false)} }

// clients lists the plain connections and those of TLS.
func (s *Server) clients(brief bool) object {
	plain, secure := []object{}, []object{}
	for _, c := range s.sessions.list() {
		if _, ok := c.nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
			secure = append(secure, c.describe(brief))
		} else {
			plain = append(plain, c.describe(brief))
		}
	}
	return object{{"connections", plain}, {"secure_connections", secure}}
}

// describe is ZooKeeper 3.9's ServerCnxn.getConnectionInfo.
func (c *conn) describe(brief bool) object {
	o := object{
		{"remote_socket_address", c.nc.RemoteAddr().String()},
		{"interest_ops", 1},
		{"outstanding_requests", c.outstanding()},
		{"packets_received", c.stats.received.Load()},
		{"packets_sent", c.stats.sent.Load()},
	}
	if brief {
		return o
	}
	f := c.stats.figures()
	cxid := int64(-1)
	if f.last.op != nil {
		cxid = f.last.cxid
	}
	return append(o,
		field{"session_id", int64(c.session.ID)},
		field{"last_operation", lastOperation(f.last.op)},
		field{"established", f.established.UnixMilli()},
		field{"session_timeout", c.timeout.Milliseconds()},
		field{"last_cxid", cxid},
		field{"last_zxid", f.lastZxid()},
		field{"last_response_time", f.last.at.Milliseconds()},
		field{"last_latency", f.last.took.Milliseconds()},
		field{"min_latency", f.min.Milliseconds()},
		field{"avg_latency", f.mean().Milliseconds()},
		field{"max_latency", f.max.Milliseconds()},
	)
}

func (a *admin) dirs(*adminRequest) adminReply {
	size := a.s.cfg.Cluster.Status().Size
	return told(field{"datadir_size", size}, field{"logdir_size", size})
}

func (a *admin) dump(*adminRequest) adminReply {
	sessions, ephemerals := a.s.sessionsAndEphemerals()
	var byTime, byOwner object
	for _, at := range sortedKeys(sessions) {
		ids := make([]int64, len(sessions[at]))
		for i, id := range sessions[at] {
			ids[i] = int64(id)
		}
		byTime.put(strconv.FormatInt(at, 10), ids)
	}
	for _, id := range sortedKeys(ephemerals) {
		byOwner.put(strconv.FormatInt(int64(id), 10), ephemerals[id])
	}
	return told(field{"expiry_time_to_session_ids", byTime}, field{"session_id_to_ephemeral_paths", byOwner})
}

func (a *admin) environment(*adminRequest) adminReply {
	var o object
	for _, s := range a.s.environment() {
		o.put(s.key, s.value)
	}
	return adminReply{object: o}
}

// systemProperties are those of the environment that are Java's: there are no others.
func (a *admin) systemProperties(*adminRequest) adminReply {
	byKey := map[string]any{}
	for _, s := range a.s.environment()[2:15] {
		byKey[s.key] = s.value
	}
	var o object
	for _, key := range sortedKeys(byKey) {
		o.put(key, byKey[key])
	}
	return adminReply{object: o}
}

func (a *admin) traceMask(*adminRequest) adminReply {
	return told(field{"tracemask", a.s.traceMaskNow()})
}

func (a *admin) setTraceMask(r *adminRequest) adminReply {
	text := r.URL.Query().Get("traceMask")
	if !r.URL.Query().Has("traceMask") {
		return told(field{"error", "setTraceMask requires long traceMask argument"})
	}
	mask, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return told(field{"error", "setTraceMask requires long traceMask argument, got " + text})
	}
	a.s.traceMask.Store(mask)
	return told(field{"tracemask", mask})
}

func (s *Server) traceMaskNow() int64 { return s.traceMask.Load() }

func (a *admin) initialConfiguration(*adminRequest) adminReply {
	return told(field{"initial_configuration", a.cfg.InitialConfig})
}

func (a *admin) isReadOnly(*adminRequest) adminReply {
	return told(field{"read_only", a.s.readOnly.Load()})
}

func (a *admin) monitor(*adminRequest) adminReply {
	var o object
	a.s.eachMonitored(o.put)
	return adminReply{object: o}
}

func (a *admin) serverStats(*adminRequest) adminReply { return adminReply{object: a.s.describe()} }

func (a *admin) stats(*adminRequest) adminReply {
	return adminReply{object: append(a.s.describe(), a.s.clients(true)...)}
}

// describe is what ZooKeeper 3.9's SrvrCommand tells.
func (s *Server) describe() object {
	least, mean, most := s.stats.latency.milliseconds()
	last, smallest, largest := s.stats.replies.sizes()
	sizes := object{{"last_buffer_size", last}, {"min_buffer_size", smallest}, {"max_buffer_size", largest}}
	status := s.cfg.Cluster.Status()
	return object{
		{"version", s.fullVersion()},
		{"read_only", s.readOnly.Load()},
		{"server_stats", object{
			{"packets_sent", s.stats.sent.Load()},
			{"packets_received", s.stats.received.Load()},
			{"fsync_threshold_exceed_count", 0},
			{"client_response_stats", sizes},
			{"data_dir_size", status.Size},
			{"log_dir_size", status.Size},
			{"provider_null", false},
			{"last_processed_zxid", int64(status.Rev)},
			{"outstanding_requests", s.stats.outstanding.Load()},
			{"server_state", s.mode()},
			{"avg_latency", double(mean)},
			{"max_latency", most},
			{"min_latency", least},
			{"num_alive_client_connections", s.stats.connections.Load()},
			{"uptime", s.clock().Milliseconds()},
			{"auth_failed_count", s.stats.authFailed.Load()},
			{"non_mtlsremote_conn_count", 0},
			{"non_mtlslocal_conn_count", 0},
		}},
		{"client_response", sizes},
		{"node_count", s.cfg.Znodes.Counts().Znodes},
	}
}

func (a *admin) watchSummary(*adminRequest) adminReply {
	w := a.s.watches.summary()
	return told(field{"num_connections", w.connections}, field{"num_paths", w.paths}, field{"num_total_watches", w.watches})
}

func (a *admin) watches(*adminRequest) adminReply {
	var o object
	for _, g := range a.s.dataWatches().sessions() {
		o.put(strconv.FormatInt(g.session, 10), g.paths)
	}
	return told(field{"session_id_to_watched_paths", o})
}

func (a *admin) watchesByPath(*adminRequest) adminReply {
	var o object
	for _, g := range a.s.dataWatches().paths() {
		o.put(g.path, g.sessions)
	}
	return told(field{"path_to_session_ids", o})
}
