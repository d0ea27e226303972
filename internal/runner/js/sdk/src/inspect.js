// What a bundle says about itself (ops.md §6). Nothing of it is executed but the module body.

/**
 * @param {{exports: any, definition: any}} loaded
 * @param {{functionName?: string, providerConfigKey?: string}} context
 * @param {(name: string) => any} require asked for zod when the definition has a schema
 */
export function inspect({ exports, definition }, context, require) {
    if (typeof definition === 'function') {
        const hasOnWebhook = typeof exports.onWebhookPayloadReceived === 'function';
        return { type: 'legacy', hasExec: true, hasOnWebhook };
    }
    const schemas = new Schemas(context, require);
    const common = {
        type: definition.type,
        description: definition.description ?? '',
        version: definition.version ?? '',
        hasExec: typeof definition.exec === 'function',
        hasOnWebhook: typeof definition.onWebhook === 'function',
        hasMetadata: definition.metadata !== undefined,
        hasCheckpoint: definition.checkpoint !== undefined
    };
    switch (definition.type) {
        case 'sync':
            return { ...common, ...describeSync(definition, schemas), jsonSchema: schemas.document() };
        case 'action':
            return { ...common, ...describeAction(definition, schemas), jsonSchema: schemas.document() };
        case 'onEvent':
            return { ...common, event: definition.event, models: [] };
        default:
            throw new Error(`Unknown function type "${definition.type}"`);
    }
}

function describeSync(definition, schemas) {
    const models = Object.keys(definition.models ?? {});
    for (const name of models) schemas.add(name, definition.models[name]);
    return {
        frequency: definition.frequency,
        syncType: definition.syncType ?? 'full',
        trackDeletes: definition.trackDeletes === true,
        autoStart: definition.autoStart !== false,
        scopes: definition.scopes ?? [],
        endpoints: definition.endpoints ?? [],
        webhookSubscriptions: definition.webhookSubscriptions ?? [],
        models,
        input: definition.metadata && schemas.addNamed('SyncMetadata', definition.metadata)
    };
}

function describeAction(definition, schemas) {
    return {
        scopes: definition.scopes ?? [],
        endpoints: definition.endpoint ? [definition.endpoint] : [],
        input: definition.input && schemas.addNamed('ActionInput', definition.input),
        models: definition.output ? [schemas.addNamed('ActionOutput', definition.output)] : []
    };
}

/** One JSON-schema document per function: a definition per model. */
class Schemas {
    #definitions = {};
    #suffix;
    #require;

    constructor({ providerConfigKey = '', functionName = '' }, require) {
        this.#require = require;
        const integration = providerConfigKey.replaceAll(/[^A-Za-z0-9]/g, '_');
        this.#suffix = `_${integration}_${functionName.replaceAll(/[^A-Za-z0-9]/g, '')}`;
    }

    addNamed(prefix, schema) {
        return this.add(prefix + this.#suffix, schema);
    }

    add(name, schema) {
        const { toJSONSchema } = this.#require('zod');
        const { $schema, ...body } = toJSONSchema(schema, {
            target: 'draft-7',
            unrepresentable: 'any',
            override: ({ zodSchema, jsonSchema }) => {
                if (zodSchema._zod.def.type === 'date') {
                    jsonSchema.type = 'string';
                    jsonSchema.format = 'date-time';
                }
                if (zodSchema._zod.def.type === 'void') jsonSchema.type = 'null';
            }
        });
        this.#definitions[name] = rebase(body, `#/definitions/${name}`);
        return name;
    }

    document() {
        return { definitions: this.#definitions };
    }
}

/** zod writes references from the root of each schema; here that root is one definition among several. */
function rebase(node, root) {
    if (Array.isArray(node)) return node.map((item) => rebase(item, root));
    if (node === null || typeof node !== 'object') return node;
    const out = {};
    for (const [key, value] of Object.entries(node)) {
        const isReference = key === '$ref' && typeof value === 'string' && value.startsWith('#');
        out[key] = isReference ? root + value.slice(1) : rebase(value, root);
    }
    return out;
}
