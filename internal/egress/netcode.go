package egress

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"strconv"
	"syscall"
)

// Network codes as Node.js programs know them.
const (
	CodeRefused          = "ECONNREFUSED"
	CodeReset            = "ECONNRESET"
	CodeTimedOut         = "ETIMEDOUT"    // the connection could not be opened in time
	CodeAborted          = "ECONNABORTED" // the exchange took too long
	CodeNotFound         = "ENOTFOUND"    // the name does not exist
	CodeTryAgain         = "EAI_AGAIN"    // the name could not be looked up now
	CodeHostUnreachable  = "EHOSTUNREACH"
	CodeNetUnreachable   = "ENETUNREACH"
	CodeTooManyRedirects = "ERR_FR_TOO_MANY_REDIRECTS"
	CodeCertExpired      = "CERT_HAS_EXPIRED"
	CodeCertName         = "ERR_TLS_CERT_ALTNAME_INVALID"
	CodeCertUnknown      = "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
)

// streamError is an HTTP/2 stream reset. net/http keeps its type to itself but converts it to any struct with these
// fields through errors.As.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return "HTTP/2 stream reset, code " + strconv.Itoa(int(e.Code)) }

// Code gives the Node-style code of an error that a client of a Door or a response body returned. It is "" for nil, for
// refusals of the policy (but too many redirects), for a cancelled context, and for what has no such code.
func Code(err error) string {
	var (
		denied  *DeniedError
		dns     *net.DNSError
		errno   syscall.Errno
		op      *net.OpError
		invalid x509.CertificateInvalidError
		timeout interface{ Timeout() bool }
	)
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return ""
	case errors.As(err, &denied):
		if denied.Reason == TooManyRedirects {
			return CodeTooManyRedirects
		}
		return ""
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return CodeNotFound
		}
		return CodeTryAgain
	case errors.As(err, &errno):
		return errnoCode(errno)
	case errors.As(err, &op) && op.Op == "dial" && op.Timeout():
		return CodeTimedOut
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return CodeCertExpired
	case errors.As(err, new(x509.HostnameError)):
		return CodeCertName
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return CodeCertUnknown
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return CodeAborted
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.As(err, new(streamError)):
		return CodeReset
	}
	return ""
}

func errnoCode(errno syscall.Errno) string {
	switch errno { //nolint:exhaustive // of some 130 these are the ones that have a name on the wire
	case syscall.ECONNREFUSED:
		return CodeRefused
	case syscall.ECONNRESET, syscall.EPIPE: // EPIPE is a reset that was noticed while writing
		return CodeReset
	case syscall.ETIMEDOUT:
		return CodeTimedOut
	case syscall.ECONNABORTED:
		return CodeAborted
	case syscall.EHOSTUNREACH:
		return CodeHostUnreachable
	case syscall.ENETUNREACH:
		return CodeNetUnreachable
	}
	return ""
}

// NodeMessage words the error as Node.js would: "connect ECONNREFUSED 127.0.0.1:1", "getaddrinfo ENOTFOUND host". It
// holds neither the URL nor an address that the policy refused. It is "" for nil.
func NodeMessage(err error) string {
	if err == nil {
		return ""
	}
	if denied, ok := errors.AsType[*DeniedError](err); ok {
		if denied.Reason == TooManyRedirects {
			return "Maximum number of redirects exceeded"
		}
		return "request refused by the outbound policy: " + string(denied.Reason)
	}
	code := Code(err)
	var dns *net.DNSError
	if errors.As(err, &dns) && code != "" {
		return "getaddrinfo " + code + " " + dns.Name
	}
	var op *net.OpError
	if errors.As(err, &op) && code != "" {
		switch op.Op {
		case "dial":
			return "connect " + code + " " + socketText(op.Addr)
		case "read", "write":
			if code != CodeAborted {
				return op.Op + " " + code
			}
		}
	}
	switch code {
	case CodeAborted:
		return "timeout exceeded"
	case CodeReset:
		return "socket hang up"
	}
	return urlCause(err).Error()
}

// socketText writes an address as Node.js does: IPv6 without brackets.
func socketText(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.IP.String() + ":" + strconv.Itoa(tcp.Port)
	}
	if addr == nil {
		return ""
	}
	return addr.String()
}

// urlCause takes the *url.Error off, whose text holds the whole URL.
func urlCause(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}
