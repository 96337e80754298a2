package zk

import "crypto/x509"

// CertificateID is who a certificate says that its owner is to ACLs of the scheme "x509":
// its subject as Java prints it, empty if it has none that can be read. Other faces know
// by it whom an ACL means.
func CertificateID(c *x509.Certificate) string {
	name, _ := subjectName(c.RawSubject)
	return name
}
