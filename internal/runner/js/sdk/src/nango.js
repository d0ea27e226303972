// Puts the runtime object together: one per run.

import { createCheckpoint } from './checkpoint.js';
import { createConnection } from './connection.js';
import { ActionError } from './errors.js';
import { createFacade } from './facade.js';
import { createFetch } from './fetch.js';
import { createHttp } from './http.js';
import { createLog } from './log.js';
import { createPaginate } from './paginate.js';
import { createLocks, createTriggers } from './platform.js';
import { createRecords } from './records.js';
import { createValidate } from './validate.js';

const BASE_VARIANT = 'base';

/**
 * @param {string} kind sync, webhook (both with the records API), action or on-event
 * @param {any} context ops.md §2
 * @param {import('./host.js').Host} host
 */
export function createNango(kind, context, host) {
    const withRecords = kind === 'sync' || kind === 'webhook';
    // A webhook handler works on the base instance whatever variant its sync has.
    const variant = kind === 'sync' ? (context.variant ?? BASE_VARIANT) : BASE_VARIANT;
    const logger = { level: 'info' };

    const { log, setLogger } = createLog({ host, context, logger });
    const connection = createConnection({ host, context });
    const http = createHttp({ host, context, forgetConnection: connection.forgetConnection });

    const properties = {
        connectionId: context.connectionId,
        providerConfigKey: context.providerConfigKey,
        provider: context.provider,
        environmentId: context.environmentId,
        environmentName: context.environmentName,
        accountId: context.accountId,
        activityLogId: context.activityLogId,
        syncId: withRecords ? context.syncId : undefined,
        syncJobId: withRecords ? context.syncJobId : undefined,
        nangoConnectionId: context.nangoConnectionId,
        scriptType: kind,
        syncConfig: context.syncConfig ?? {},
        runnerFlags: context.runnerFlags ?? {},
        isCLI: context.isCLI === true,
        logger,
        ActionError
    };
    if (withRecords) properties.variant = variant;
    if (kind === 'sync') {
        properties.lastSyncDate = context.lastSyncDate ? new Date(context.lastSyncDate) : undefined;
        properties.track_deletes = context.trackDeletes === true;
        properties.emptyCache = context.emptyCache === true;
    }

    const methods = {
        ...http,
        paginate: createPaginate({ proxy: http.proxy, context }),
        ...connection.methods,
        log,
        setLogger,
        ...(withRecords ? createRecords({ host, log }) : {}),
        ...createCheckpoint({ host }),
        ...createLocks({ host }),
        ...createTriggers({ host }),
        uncontrolledFetch: createFetch({ host }),
        zodValidateInput: createValidate({ log }),
        getVariant: () => variant,
        getFlowAttributes() {
            if (!properties.syncJobId) throw new Error('There is no current sync to get attributes from');
            return context.attributes ?? {};
        }
    };
    return createFacade(properties, methods);
}
