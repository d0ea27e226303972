// What user code holds is a facade over a prototype-less object: it has the documented members and nothing behind them.

/** Names of machinery that functions must not reach for; touching one is told, not ignored. */
const FORBIDDEN = new Set([
    'nango', 'persistClient', 'telemetryRecorder', 'locking', 'checkpointing', 'checkpointKey', 'integrationConfig',
    'memoizedConnections', 'memoizedIntegration', 'attributes', 'telemetryBag', 'abortSignal', 'lifecycle', 'getProxyConfig',
    'throwIfAbortedOrKilled', 'throwIfInterrupted', 'shouldLog', 'validateRecords', 'removeMetadata', 'modelFullName',
    'sendLogToPersist', 'logAPICall', 'getMergingStrategy', 'setMergingStrategyByModel', 'trackDeletesKey',
    'fetchRecordsPage', 'getCheckpointRange', 'clearRecordsIfNeeded', 'batchSize', 'getRecordsBatchSize',
    'mergingByModel', 'httpLogSample', '__proto__', 'constructor'
]);

function guard(name) {
    if (FORBIDDEN.has(name)) throw new Error(`Access to "${name}" is not allowed.`);
}

/**
 * @param {Record<string, unknown>} properties shown by Object.keys
 * @param {Record<string, Function>} methods callable, but not listed; they need no receiver
 */
export function createFacade(properties, methods) {
    const target = Object.assign(Object.create(null), properties);
    for (const [name, value] of Object.entries(methods)) {
        Object.defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false });
    }
    return new Proxy(target, {
        get(object, name) {
            guard(name);
            return object[name];
        },
        set(object, name, value) {
            guard(name);
            object[name] = value;
            return true;
        },
        defineProperty(object, name, descriptor) {
            guard(name);
            return Reflect.defineProperty(object, name, descriptor);
        },
        deleteProperty(object, name) {
            guard(name);
            return Reflect.deleteProperty(object, name);
        },
        setPrototypeOf: () => false,
        preventExtensions: () => false
    });
}
