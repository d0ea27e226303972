package api

import (
	"net/http"
	"net/url"
	"strings"
)

// router finds a handler by method and path. Static segments match without regard to case and a trailing slash is ignored,
// which the SDKs rely on (they ask for /records/?model=…); parameters are percent-decoded once. A path that ends in "/*"
// takes everything below it.
type router struct {
	root node
}

type node struct {
	static   map[string]*node
	param    *node
	name     string
	handlers map[string]handler // by method; "" is any method
	rest     map[string]handler // for "/*"
}

// handler answers a request or returns the error to answer with.
type handler func(w http.ResponseWriter, r *request) error

type params map[string]string

// handle registers pattern such as "/connections/:connectionId". An empty method stands for all.
func (rt *router) handle(method, pattern string, h handler) {
	at := &rt.root
	for segment := range strings.SplitSeq(strings.Trim(pattern, "/"), "/") {
		switch {
		case segment == "*":
			at.rest = with(at.rest, method, h)
			return
		case strings.HasPrefix(segment, ":"):
			if at.param == nil {
				at.param = &node{name: segment[1:]}
			}
			at = at.param
		default:
			if at.static == nil {
				at.static = map[string]*node{}
			}
			if at.static[segment] == nil {
				at.static[segment] = &node{}
			}
			at = at.static[segment]
		}
	}
	at.handlers = with(at.handlers, method, h)
}

func with(handlers map[string]handler, method string, h handler) map[string]handler {
	if handlers == nil {
		handlers = map[string]handler{}
	}
	handlers[method] = h
	return handlers
}

// find gives the handler and the parameters, or nil. escapedPath is the path as it came over the wire.
func (rt *router) find(method, escapedPath string) (handler, params) {
	var found params
	h := rt.root.find(method, strings.Trim(escapedPath, "/"), &found)
	return h, found
}

func (n *node) find(method, rest string, found *params) handler {
	if rest == "" {
		if h := pick(n.handlers, method); h != nil {
			return h
		}
		return pick(n.rest, method)
	}
	segment, after, _ := strings.Cut(rest, "/")
	if next := n.staticChild(segment); next != nil {
		if h := next.find(method, after, found); h != nil {
			return h
		}
	}
	if n.param != nil {
		if h := n.param.find(method, after, found); h != nil {
			decoded, err := url.PathUnescape(segment)
			if err != nil {
				return nil
			}
			if *found == nil {
				*found = params{}
			}
			(*found)[n.param.name] = decoded
			return h
		}
	}
	return pick(n.rest, method)
}

func (n *node) staticChild(segment string) *node {
	if next := n.static[segment]; next != nil {
		return next
	}
	return n.static[strings.ToLower(segment)]
}

func pick(handlers map[string]handler, method string) handler {
	if h := handlers[method]; h != nil {
		return h
	}
	return handlers[""]
}
