package backup

// writeAuth writes users and roles.
func (e *exporter) writeAuth() error { return nil }
